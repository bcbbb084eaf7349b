//! Tables of what is masked and what stays, and canaries that must not come
//! out.

use std::string::String;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// A text with its secrets masked.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut done = 0;
    secret_ranges(text.as_bytes(), &mut |range| {
        out.push_str(&text[done..range.start]);
        out.push_str(MASK);
        done = range.end;
    });
    out.push_str(&text[done..]);
    out
}

/// An argument with its secrets masked.
fn redacted(text: &str) -> String {
    let mut out = Vec::new();
    let _masked = argument(text.as_bytes(), |piece| out.extend_from_slice(piece));
    String::from_utf8(out).unwrap()
}

#[test]
fn keys() {
    for key in [
        "password",
        "PASSWORD",
        "db_password",
        "dbPassword",
        "DB-PASSWORD",
        "db.password",
        "PGPASSWORD",
        "MYSQL_PWD",
        "passwd",
        "admin_passwd",
        "pass",
        "DB_PASS",
        "passphrase",
        "secret",
        "client_secret",
        "clientSecret",
        "secrets",
        "AWS_SECRET_ACCESS_KEY",
        "SECRET_KEY_BASE",
        "token",
        "access_token",
        "accessToken",
        "authtoken",
        "GITHUB_TOKEN",
        "token2",
        "apikey",
        "api_key",
        "api-key",
        "apiKey",
        "APIKey",
        "API_KEYS",
        "x-api-key",
        "access_key",
        "private_key",
        "privateKey",
        "credential",
        "credentials",
        "GOOGLE_CREDS",
        "auth",
        "basic_auth",
        "authorization",
        "Proxy-Authorization",
        "connection_string",
        "ConnectionString",
        "connection string",
        "encryption_key",
        "password_hash",
        "jwt",
        "session_key",
        "--password",
        "signingKey",
        "max_password",
        "cookie",
        "averyveryveryveryveryveryveryverylongpassword",
        "password2",
        "passWord",
        "API-KEY",
        "api.key",
        "apikeys",
        "privatekey",
        "clientsecret",
        "tokens",
        "oauth2token",
        "aws_secret_access_key",
        "smtp_pass",
        "Authorization",
        "--token",
        "set-cookie",
        "Passwört_password",
        "a\u{0}secret",
        "keystone_authtoken",
        "SECRETSMANAGER",
        "api_token_2",
        "hostkeys",
        "authtokens",
        // Divided in an odd place.
        "APIkey",
        "SSHkey",
        "DBpass",
        "PASSword",
        "pAsSwOrD",
        "fernet_key",
        "fernet_keys",
        "session_id",
        "sessionId",
        "PHPSESSID",
        "JSESSIONID",
        "passkey",
        "enc_key",
        "key_material",
        "bindpw",
        "rootpw",
        "olcRootPW",
        "userpw",
        "keypass",
        "storepass",
        "ldappass",
        "webhook_url",
        "slackWebhookUrl",
        "secret_url",
    ] {
        assert!(is_secret_key(key), "{key}");
    }
    for key in [
        "",
        "author",
        "authority",
        "authors",
        "keyboard",
        "monkey",
        "key",
        "keys",
        "PWD",
        "OLDPWD",
        "user",
        "path",
        "compass",
        "bypass",
        "passenger",
        "passive",
        "secretary",
        "tokenizer",
        "auth_url",
        "auth_type",
        "auth_strategy",
        "token_ttl",
        "password_file",
        "max_tokens",
        "public_key",
        "primary_key",
        "key_file",
        "foreign-key",
        "host",
        "spin",
        "pinned",
        "turkey",
        "hotkey",
        "donkey",
        "partition_key",
        "basic",
        "keepalive",
        "connection",
        "transport_url",
        "routing_key",
        "pass_through",
        "cookie_name",
        "keystone",
        "é",
        "_",
        "123",
        "username",
        "max_tokens_per_minute",
        "token_url",
        "password_required",
        "secret_ttl_seconds",
        "MAX_TOKENS",
        "token_type",
        "tokens_per_second",
        "tokensPerSecond",
        "token_bucket_capacity",
        "PASSwordFile",
        "passwordFile",
        "tokenTtl",
        "maxTokens",
        "pin",
        "salt",
        "seed",
        "sid",
    ] {
        assert!(!is_secret_key(key), "{key}");
    }
}

#[test]
fn groups() {
    for key in [
        "secret",
        "secrets",
        "password",
        "passwords",
        "db_passwords",
        "dbPasswords",
        "dbpassword",
        "PASSWORDS2",
        "pass_words",
        "credential",
        "credentials",
        "dbcredentials",
        "creds",
        "token",
        "tokens",
        "api-tokens",
        "oauth2token",
        "api_key",
        "api_keys",
        "apikeys",
        "private.keys",
        "client_secrets",
        "cookies",
        "DBpasswords",
        "APIkeys",
    ] {
        assert!(is_secret_group(key), "{key}");
        assert!(is_secret_key(key), "{key}");
    }
    for key in [
        "",
        "keystone_authtoken",
        "authtoken",
        "secret_store",
        "secretsmanager",
        "token_cache",
        "password_policy",
        "credentials_file",
        "tokenizer",
        "auth",
        "basic_auth",
        "cookie",
        "jwt",
        "max_tokens",
        "max_tokens_per_minute",
        "keys",
        "public_keys",
        "connection",
        "passwordless",
        "username",
    ] {
        assert!(!is_secret_group(key), "{key}");
    }
}

#[test]
fn texts() {
    for (text, expected) in [
        ("amqp://user:pass@host", "amqp://user:***@host"),
        ("https://TOKEN@host/x", "https://***@host/x"),
        ("https://TOKEN:x-oauth-basic@host", "https://***:x-oauth-basic@host"),
        ("redis://:pw@h/0", "redis://:***@h/0"),
        ("a://u:p@h b://v:q@i", "a://u:***@h b://v:***@i"),
        ("a://u:p@h,b://v:q@i", "a://u:***@h,b://v:***@i"),
        ("a://h1,b://v:q@i", "a://h1,b://v:***@i"),
        ("a://u:p@ss@h", "a://u:***@h"),
        ("a://u:p/s?s#x@h", "a://u:***@h"),
        ("a://u:p w@h", "a://u:***@h"),
        ("a://u:p'w@h", "a://u:***@h"),
        ("'a://u:pässö@h'", "'a://u:***@h'"),
        ("app:pw@tcp(db:1)/x", "app:***@tcp(db:1)/x"),
        ("u:p@localhost:5672", "u:***@localhost:5672"),
        ("Bearer xxx", "Bearer ***"),
        ("x: bearer  abc, y", "x: bearer  ***, y"),
        ("Basic dXNlcjpwYXNz", "Basic ***"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: ***"),
        ("password=a b", "password=*** b"),
        ("password = 'a b' c", "password = '***' c"),
        ("Pwd=a b;X=1", "Pwd=***;X=1"),
        ("h?token=abc&x=1", "h?token=***&x=1"),
        ("a=1,password=b,c=2", "a=1,password=***,c=2"),
        (r#"{"password":"a\"b","x":1}"#, r#"{"password":"***","x":1}"#),
        (r#"{\"token\": \"abc\"}"#, r#"{\"token\": \"***"#),
        (
            "-----BEGIN PRIVATE KEY-----\nAAA\n-----END PRIVATE KEY-----\n",
            "-----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY-----\n",
        ),
        ("-----BEGIN RSA PRIVATE KEY", "-----BEGIN RSA PRIVATE KEY"),
        ("-----BEGIN RSA PRIVATE KEY AAAA", "-----BEGIN RSA PRIVATE KEY***"),
        (
            "-----BEGIN%20PRIVATE%20KEY-----%0Ax%0A-----END%20PRIVATE%20KEY-----%0A",
            "-----BEGIN%20PRIVATE%20KEY-----***-----END%20PRIVATE%20KEY-----%0A",
        ),
        (
            "-----BEGIN+RSA+PRIVATE+KEY-----xEND+x-----END+RSA+PRIVATE+KEY-----y",
            "-----BEGIN+RSA+PRIVATE+KEY-----***-----END+RSA+PRIVATE+KEY-----y",
        ),
        ("bearer:bearer:abc", "bearer:***"),
        ("password:pw", "password:***"),
        ("run --token abc --verbose", "run --token *** --verbose"),
        ("x --token '***' y", "x --token '***' y"),
        ("run --token --verbose", "run --token --verbose"),
        ("https://u:p@h/?token=x&n=1", "https://u:***@h/?token=***&n=1"),
        ("Proxy: Basic dXNlcjpwYXNz, x", "Proxy: Basic ***, x"),
    ] {
        assert_eq!(masked(text), expected, "{text}");
        assert_eq!(masked(expected), expected, "not stable: {text}");
    }
}

#[test]
fn everyday_forms() {
    for (text, expected) in [
        // Data source names.
        ("Server=db;UID=sa;PWD=x;Encrypt=yes", "Server=db;UID=sa;PWD=***;Encrypt=yes"),
        ("Server=db;Password={a;x};Y=1", "Server=db;Password=***;Y=1"),
        ("PWD=x", "PWD=***"),
        // Indices.
        ("user[password]=x", "user[password]=***"),
        ("token[]=x", "token[]=***"),
        ("password[0]=x", "password[0]=***"),
        (r#"config["password"] = "x""#, r#"config["password"] = "***""#),
        ("user%5Bpassword%5D=x", "user%5Bpassword%5D=***"),
        // Signs.
        (r#"{"password" => "x", "a" => 1}"#, r#"{"password" => "***", "a" => 1}"#),
        (":password=>'x'", ":password=>'***'"),
        ("password==x y", "password==*** y"),
        ("password := x", "password := ***"),
        // Lines.
        ("a {\n  password: Some(\n    \"x\",\n  ),\n}", "a {\n  password: ***\n}"),
        ("password: |\n  x\n  x\nb: c", "password: ***\nb: c"),
        ("password: >-\r\n  x\r\nb: c", "password: ***\r\nb: c"),
        ("a:\n  password:\n    x\n  b: c", "a:\n  password:***\n  b: c"),
        ("password=\n  x\nb", "password=***\nb"),
        ("\"tokens\": [\n\"x\",\n\"]\"\n], \"a\": 1", "\"tokens\": ***"),
        ("tokens: [x,\n  x\n]\nb: c", "tokens: ***\nb: c"),
        ("tokens:\n- x\n- y\nb: c", "tokens:***\nb: c"),
        ("secrets:\n  a: x\n\n  b: x\nc: d", "secrets:***\nc: d"),
        ("token: [\n  x", "token: ***"),
        // Escapes.
        ("next=%2Fcb%3Faccess_token%3Dx&a=b", "next=%2Fcb%3Faccess_token%3D***&a=b"),
        ("password%3dx y", "password%3d*** y"),
        ("%22password%22%3A%22x%22", "%22password%22%3A***"),
        ("a%253Fpassword%253Dx", "a%253Fpassword%253D***"),
        ("https%3A%2F%2Fu%3Ax%40h%2Fp", "https%3A%2F%2Fu%3A***%40h%2Fp"),
        ("amqp%3a%2f%2fu%3ax%40h", "amqp%3a%2f%2fu%3a***%40h"),
        ("https%3A%2F%2Fx%40h", "https%3A%2F%2F***%40h"),
        // Pairs.
        (r#"{"name":"DB_PASSWORD","value":"x"}"#, r#"{"name":"DB_PASSWORD","value":"***"}"#),
        (r#"{"value":"x","name":"DB_PASSWORD"}"#, r#"{"value":"***","name":"DB_PASSWORD"}"#),
        (r#"{"name":"A","value":"x"}"#, r#"{"name":"A","value":"x"}"#),
        (
            "- name: A\n  value: a\n- name: TOKEN\n  value: x\n- name: B\n  value: b",
            "- name: A\n  value: a\n- name: TOKEN\n  value: ***\n- name: B\n  value: b",
        ),
        (r#"<add key="password" value="x"/>"#, r#"<add key="password" value="***"/>"#),
        (
            r#"{"header": "Authorization", "value": "x"}"#,
            r#"{"header": "Authorization", "value": "***"}"#,
        ),
        // Elements.
        ("<a><password>x</password></a>", "<a><password>***</password></a>"),
        ("<n:Password a='b'>x y</n:Password>", "<n:Password a='b'>***</n:Password>"),
        ("<token><![CDATA[x<]]></token>", "<token><![CDATA[***]]></token>"),
        ("<password>x", "<password>***"),
        ("<a name=\"db.password\">x</a>", "<a name=\"db.password\">***</a>"),
        ("password: |2- # a\n  x\nb: c", "password: ***\nb: c"),
        ("passwords=[x, y] a", "passwords=*** a"),
        // Ends.
        ("password='it''s x' y", "password='***' y"),
        (r#"password="a""x" y"#, r#"password="***" y"#),
        (r"password='it'\''s x' y", "password='***' y"),
        (r#""{""password"":""x"",""a"":1}""#, r#""{""password"":""***"",""a"":1}""#),
        ("a=1,password=b,x", "a=1,password=***"),
        ("PASSWORD=a,x", "PASSWORD=***"),
        (r#"Bearer "x" y"#, r#"Bearer "***" y"#),
        (r#"{\"a\":\"Bearer \"x\"\"}"#, r#"{\"a\":\"Bearer \"***"\"}"#),
        ("amqp://u:12345/x@h", "amqp://u:***@h"),
        // Keys.
        ("secret/db/password: x", "secret/db/password: ***"),
        ("a/token:x", "a/token:***"),
        (
            &std::format!("{}.password=x", "a".repeat(80)),
            &std::format!("{}.password=***", "a".repeat(80)),
        ),
        (
            &std::format!("--{}.password x", "a".repeat(80)),
            &std::format!("--{}.password ***", "a".repeat(80)),
        ),
    ] {
        assert_eq!(masked(text), expected, "{text}");
        assert_eq!(masked(expected), expected, "not stable: {text}");
    }
}

#[test]
fn plain_texts_stay() {
    for text in [
        "",
        "http://host:8080/@scope/x",
        "http://[::1]:80/a@b",
        "me@example.com",
        "mailto:me@example.com",
        "git@github.com:org/repo",
        "nginx:1.25@sha256:abcd",
        "basic settings",
        "0.0.0.0:80",
        "a=b",
        "x://",
        "@",
        "://",
        ":@",
        "http://h",
        "-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----",
        "bearer",
        "token://x",
        "tokenizer=x",
        "Authors: me",
        "pkg:npm/foo@1.2.3",
        "docker:nginx@1.2",
        "tcp:10.0.0.1:80@eth0",
        "10:32:11@host",
        "tokens_per_second=4",
        "token_bucket_capacity=9",
        "PWD=/home/me",
        r#"{"PWD": "/home/me"}"#,
        "src/token.rs:12:5",
        "http://token:80",
        "https%3A%2F%2Fhost%3A80%2F%40scope",
        "oci://h:5000/a@sha256:abc",
        "ssh://h:22/a@v1",
        "x <TOKEN> y",
        "password:\nuser: me",
        "keystone_authtoken:\n  user: me",
        "name=A value=b",
    ] {
        assert_eq!(masked(text), text);
    }
}

/// Tokens are put together here, so that no scanner takes them for real ones.
fn token(prefix: &str, len: usize) -> String {
    std::format!("{prefix}{}", "Ab3Xy9".chars().cycle().take(len).collect::<String>())
}

#[test]
fn tokens_of_providers() {
    let upper = "ABCD2345EFGH6789";
    for (prefix, len) in [
        ("ghp_", 36),
        ("gho_", 36),
        ("ghs_", 36),
        ("github_pat_", 82),
        ("glpat-", 20),
        ("xoxb-", 40),
        ("xoxp-", 40),
        ("sk_live_", 24),
        ("rk_live_", 24),
        ("AIza", 35),
        ("npm_", 36),
        ("hf_", 34),
        ("sk-ant-", 60),
        ("pypi-", 80),
        ("glptt-", 40),
        ("hooks.slack.com/services/", 44),
        ("hvs.", 90),
        ("whsec_", 32),
        ("sk-svcacct-", 60),
        ("sk-", 48),
    ] {
        let secret = token(prefix, len);
        for (before, after) in [
            ("", ""),
            ("use ", " now"),
            ("(", ")"),
            ("a-", ".x"),
            (r"x\n", r"\n"),
            ("%20", "%20"),
            ("é", "é"),
        ] {
            let text = std::format!("{before}{secret}{after}");
            let expected = std::format!("{before}{prefix}***{after}");
            assert_eq!(masked(&text), expected);
            assert_eq!(masked(&expected), expected, "not stable");
        }
        assert_eq!(masked(&std::format!("x{secret}")), std::format!("x{secret}"), "within a word");
        assert_eq!(masked(&token(prefix, 9)), token(prefix, 9), "too short");
    }
    for prefix in ["AKIA", "ASIA"] {
        assert_eq!(masked(&std::format!("id {prefix}{upper} x")), std::format!("id {prefix}*** x"));
        let lower = std::format!("{prefix}{}", upper.to_lowercase());
        assert_eq!(masked(&lower), lower);
    }
    for (text, expected) in [
        (token("hooks.slack.com/services/T0000/B0000/", 24), "hooks.slack.com/services/***"),
        (
            token("https://hooks.slack.com/services/T0/B0/", 24),
            "https://hooks.slack.com/services/***",
        ),
        (std::format!("{}.{}", token("SG.", 22), token("", 43)), "SG.***"),
        (token("AGE-SECRET-KEY-1", 58).to_uppercase(), "AGE-SECRET-KEY-***"),
        (
            std::format!("k: {}+/{}==", token("LS0tLS1CRUdJTiBQUklW", 30), token("", 300)),
            "k: LS0tLS1CRUdJTi***",
        ),
        (
            std::format!(
                "{}\n  {}\n  Ab=\nx: y",
                token("LS0tLS1CRUdJTiBSU0EgUF", 54),
                token("", 76)
            ),
            "LS0tLS1CRUdJTi***\nx: y",
        ),
    ] {
        assert_eq!(masked(&text), expected);
        assert_eq!(masked(expected), expected, "not stable");
    }
    let certificate = token("LS0tLS1CRUdJTiBDRVJUSUZJQ0FUR", 300);
    assert_eq!(masked(&certificate), certificate);
    for text in [
        "ghp_",
        "SG.org.example.www",
        "hooks.slack.com/services/",
        "sk-learn-and-more-words-of-more-than-forty-eight-letters",
        "npm_config_registry_and_more_words_than_thirty",
        "hf_transfer_enabled_for_all_of_our_downloads",
        "xoxb-is-slack",
        "AKIA",
        "the AIzawa family",
        "sk_live_stream_of_events",
    ] {
        assert_eq!(masked(text), text);
    }
}

#[test]
fn json_web_tokens() {
    let header = token("eyJ", 17);
    let payload = token("eyJ", 40);
    for (text, expected) in [
        (std::format!("{header}.{payload}.sig-_"), "***"),
        (std::format!("x {header}.{payload}.s y"), "x *** y"),
        (std::format!("{header}.a.b.c.d."), "***."),
        (std::format!("a-{header}.{payload}.s"), "a-***"),
        (std::format!("{header}.{payload}.s,{header}.{payload}.s"), "***,***"),
    ] {
        assert_eq!(masked(&text), expected, "{text}");
        assert_eq!(masked(expected), expected);
    }
    for text in [
        std::format!("{header}.{payload}"),
        std::format!("x{header}.{payload}.s"),
        std::format!("{header}..s"),
        "eyJ.eyJ.eyJ and more of it".into(),
        "www.eyJafjallajoekull.example.org".replace("eyJ", "Ey"),
    ] {
        assert_eq!(masked(&text), text);
    }
}

static POLICY: Redaction = Redaction::new()
    .secret_keys(&["*_pin", "license", "card*"])
    .public_keys(&["token_count", "secret_santa*", "card_pin"])
    .patterns(&[Pattern::prefixed("acme_", 20), Pattern::prefixed("Ä-", 0)]);

#[test]
fn a_policy_adds_keys() {
    for key in ["user_pin", "userPin", "--user-pin", "license", "LICENSE", "card_pin", "cardno"] {
        assert!(POLICY.is_secret_key(key) && POLICY.is_secret_group(key), "{key}");
    }
    for key in ["pin", "licensee", "token_count", "tokenCount", "secretSantaName", "author"] {
        assert!(!POLICY.is_secret_key(key) && !POLICY.is_secret_group(key), "{key}");
    }
    assert!(POLICY.is_secret_key("password") && POLICY.is_secret_group("secrets"));
    assert!(POLICY.is_secret_key("keystone_authtoken"));
    assert!(!POLICY.is_secret_group("keystone_authtoken"));
    assert!(POLICY.takes_secret(b"--user-pin") && !POLICY.takes_secret(b"--token-count"));
}

#[test]
fn a_policy_adds_texts() {
    let by_policy = |text: &str| {
        let mut out = Vec::new();
        let _masked = POLICY.argument(text.as_bytes(), |piece| out.extend_from_slice(piece));
        String::from_utf8(out).unwrap()
    };
    let acme = token("acme_", 20);
    for (text, expected) in [
        (&*acme, "acme_***"),
        (&std::format!("a {acme}, b"), "a acme_***, b"),
        ("--user-pin=1 2", "--user-pin=***"),
        ("run --user-pin 12 x", "run --user-pin *** x"),
        ("a=1&license=x y", "a=1&license=*** y"),
        ("--token-count=7", "--token-count=7"),
        ("token_count: 7", "token_count: 7"),
        ("password=x", "password=***"),
        // A minimum of nothing is one of one.
        ("x Ä-1 Ä- y", "x Ä-*** Ä- y"),
        (&token("acme_", 19), &token("acme_", 19)),
    ] {
        assert_eq!(by_policy(text), expected);
        assert_eq!(by_policy(expected), expected, "not stable");
    }
    assert_eq!(masked(&acme), acme, "without the policy");
}

#[test]
fn a_private_key_that_goes_on() {
    for (text, is_open) in [
        ("-----BEGIN PRIVATE KEY-----", true),
        ("x\n-----BEGIN RSA PRIVATE KEY-----\nabc", true),
        ("-----BEGIN PRIVATE KEY-----x-----END PRIVATE KEY-----", false),
        ("-----BEGIN PRIVATE KEY-----x-----END PRIVATE KEY----- -----BEGIN PRIVATE KEY-----", true),
        ("-----BEGIN CERTIFICATE-----\nabc", false),
        ("", false),
    ] {
        assert_eq!(ends_in_private_key(text.as_bytes()), is_open, "{text}");
    }
    assert_eq!(private_key_end(b"abc"), None);
    assert_eq!(private_key_end(b"abc\n-----END PRIVATE KEY-----x"), Some(4));
}

#[test]
fn passwords_in_urls() {
    for (url, secret) in [
        ("postgres://user:pw@host/db", Some("pw")),
        ("see redis://:pw@host:6379/0 there", Some("pw")),
        ("postgres://user:p@ss:w@host/db", Some("p@ss:w")),
        ("mongodb://u:pw@h1:1,h2:2/db", Some("pw")),
        ("amqp://u:pw@[::1]:5672", Some("pw")),
        ("redis://:pa/s?s#@host", Some("pa/s?s#")),
        ("a://h/ b://u:pw@h", Some("pw")),
        ("http://h:80,http://u:pw@h", Some("pw")),
        ("https://ghp_abc@github.com/x", Some("ghp_abc")),
        ("https://sk_live:@api.example.com", Some("sk_live")),
        ("https://tok:x-oauth-basic@github.com", Some("tok")),
        ("git+HTTPS://tok@github.com", Some("tok")),
        ("ssh://git@github.com/x", None),
        ("https://host:8080/@user", None),
        ("https://host/path@v1", None),
        ("http://[::1]:80/@x", None),
        ("https://@host", None),
        ("postgres://user:@host", None),
        ("user:pw@host", Some("pw")),
        ("://", None),
        ("", None),
    ] {
        let mut found = None;
        secret_ranges(url.as_bytes(), &mut |range| found = Some(&url[range]));
        assert_eq!(found, secret, "{url}");
    }
}

#[test]
fn arguments() {
    for (text, expected) in [
        ("--password=hunter2", "--password=***"),
        ("--password=a b;c&d,e", "--password=***"),
        ("--password=", "--password="),
        ("DB_PASSWORD=x", "DB_PASSWORD=***"),
        ("--db-url=postgres://u:pw@h/d", "--db-url=postgres://u:***@h/d"),
        ("postgres://u:a@h postgres://u:b@h", "postgres://u:***@h postgres://u:***@h"),
        ("host=h password=pw dbname=d", "host=h password=*** dbname=d"),
        ("Server=h;Password=pw;Timeout=3", "Server=h;Password=***;Timeout=3"),
        ("https://h/x?a=1&access_token=pw&b=2", "https://h/x?a=1&access_token=***&b=2"),
        ("Authorization: Bearer abcdef123", "Authorization: ***"),
        ("--header=X: Bearer abcdef123", "--header=X: Bearer ***"),
        ("{\"password\": \"p w\", \"user\": \"u\"}", "{\"password\": \"***\", \"user\": \"u\"}"),
        ("mysql --password hunter2 db", "mysql --password *** db"),
        ("export TOKEN='a b'; run", "export TOKEN='***'; run"),
        ("http://token:80/x", "http://token:80/x"),
        ("--author=me", "--author=me"),
        ("--keyboard=us", "--keyboard=us"),
        ("basic training", "basic training"),
        ("--password", "--password"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc", "-----BEGIN RSA PRIVATE KEY-----***"),
        ("/usr/bin/daemon", "/usr/bin/daemon"),
        ("", ""),
    ] {
        assert_eq!(redacted(text), expected, "{text}");
    }
}

#[test]
fn options_that_take_a_secret() {
    for option in ["--token", "-token", "--db-password", "--apiKey", "-setcookie"] {
        assert!(takes_secret(option.as_bytes()), "{option}");
    }
    for option in ["--tokens-file", "-p", "token", "--author", "--token=x", "--", "-", ""] {
        assert!(!takes_secret(option.as_bytes()), "{option}");
    }
    assert!(is_value(b"hunter2") && is_value(b"-x") && !is_value(b"--verbose"));
}

/// Texts that make a careless search quadratic: this test would hang.
#[test]
fn long_texts_take_linear_time() {
    for part in [
        "token=a&",
        "token=a ",
        "token=",
        "a://b:c",
        "BEGIN ",
        "BEGIN PRIVATE KEY",
        "a:b@",
        "bearer ",
        "basic a",
        "\"token\":",
        "token: \"",
        "token: ",
        "=",
        ":",
        "\\\"",
        "aB",
        "basic:",
        "bearer:",
        "basic ",
        "-token ",
        "-token '",
        "-token '\\'",
        "BEGIN PRIVATE KEY-",
        "END ",
        "a ",
        "-",
        "eyJ",
        "-eyJ",
        "eyJaaaaaaaaaaaa.",
        "eyJaaaaaaaaaaaa..",
        "-eyJaaaaaaaaaaaa.b",
        "-ghp_",
        "ghp_-",
        "AKIA ",
        "AKIAA",
        "-acme_",
        "Ä-Ä",
        "BEGIN PRIVATE KEY-----END ",
        "-basic",
        "-bearer",
        "value=",
        "value: ",
        "value:name:",
        "value:\n ",
        "token:\n",
        "token:\n ",
        "auth:\n a:\n",
        "token: [\n",
        "token: {\n",
        "auth: {\n",
        "token=( ",
        "token={ ",
        "token=(\n",
        "token=|\n ",
        "token=\n\n",
        "<token",
        "<token>",
        "<token><![CDATA[",
        "<token>a</",
        "%3A%2F%2F",
        "%3A%2F%2Fa%40",
        "%3A%3D",
        "token%3D",
        "%5D",
        "%22=",
        "token==",
        "//token:",
        "a://b:1/",
        "a://b:1/@",
        "token[0]",
        "[0]=",
        "token=\"\"",
        "token=''a''",
        "token='\\''",
        "Bearer \"",
        "&quot;",
        "PWD=/",
        "x,password=a,",
        "LS0tLS1CRUdJTi",
        "-LS0tLS1CRUdJTi+",
        "BEGIN+PRIVATE+KEY-",
        "BEGIN%20",
        "hooks.slack.com/services/",
        "SG.",
    ] {
        let text = part.repeat(32 * 1024 / part.len());
        let _ranges = masked(&text);
        let _argument = redacted(&text);
        let _key = (is_secret_key(&text), is_secret_group(&text));
        let _by_policy = (POLICY.is_secret_key(&text), POLICY.is_secret_group(&text));
        POLICY.secret_ranges(text.as_bytes(), &mut |_| {});
        let _ends = (ends_in_private_key(text.as_bytes()), private_key_end(text.as_bytes()));
    }
}

/// What a canary is hidden in. It must not come out.
const CANARY: &str = "cAnArY123";

#[test]
fn an_argument_whose_key_is_a_token_is_masked_as_a_whole() {
    let text = std::format!("ghp_{CANARY}Pw0A0aaaAa0aaAaa0aAAAaa00A00a0A=x");
    assert_eq!(redacted(&text), MASK);
    assert!(!masked(&text).contains(CANARY), "{}", masked(&text));
}

proptest! {
        #[test]
        fn a_canary_never_sings(
            before in "[a-z ]{0,12}",
            prefix in prop::sample::select(&["db_", "my-", "x.", ""][..]),
            key in prop::sample::select(&["password", "token", "api_key", "Secret", "passwd"][..]),
            separator in prop::sample::select(&["=", ": ", ":", " = ", "=\"", "='"][..]),
            after in "([ ,;&].{0,20})?",
        ) {
            let text = std::format!("{before} {prefix}{key}{separator}{CANARY}{after}");
            prop_assert!(!redacted(&text).contains(CANARY), "{}", text);
            let whole = std::format!("--{prefix}{key}={before}{CANARY}{after}");
            prop_assert_eq!(redacted(&whole), std::format!("--{prefix}{key}=***"));
        }

        #[test]
        fn a_canary_in_a_url_never_sings(
            before in "\\PC{0,20}",
            scheme in "[a-z]{1,8}",
            user in "[a-z0-9]{0,6}",
            junk in "[!-~&&[^\"'<>@]]{0,6}",
            after in "[a-z.:0-9/]{0,20}",
        ) {
            prop_assume!(!junk.contains("://"));
            let text = std::format!("{before} {scheme}://{user}:{CANARY}{junk}@{after}");
            prop_assert!(!redacted(&text).contains(CANARY), "{}", text);
        }

        #[test]
        fn a_token_never_sings(
            before in "(.{0,20}[^A-Za-z0-9])?",
            prefix in prop::sample::select(&["ghp_", "xoxp-", "AIza", "npm_", "sk_live_"][..]),
            more in "[A-Za-z0-9]{31,60}",
            after in "([^A-Za-z0-9].{0,20})?",
        ) {
            let text = std::format!("{before}{prefix}{CANARY}{more}{after}");
            prop_assert!(!masked(&text).contains(CANARY), "{}", text);
            prop_assert!(!redacted(&text).contains(CANARY), "{}", text);
        }

        #[test]
        fn a_policy_only_ever_masks_more(text in "([a-z_=:@ -]|acme_[a-z]{20}|pin=|user_){0,30}") {
            static ADDS: Redaction = Redaction::new()
                .secret_keys(&["*_pin"])
                .patterns(&[Pattern::prefixed("acme_", 20)]);
            let mut shown = std::vec![true; text.len()];
            ADDS.secret_ranges(text.as_bytes(), &mut |range| shown[range].fill(false));
            secret_ranges(text.as_bytes(), &mut |range| {
                assert!(shown[range].iter().all(|shown| !shown), "{text}");
            });
        }

        #[test]
        fn any_bytes_are_survived(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut len = 0usize;
            let masked = argument(&text, |piece| len += piece.len());
            prop_assert!(masked || len == text.len());
            let _key = takes_secret(&text);
            let mut done = None;
            secret_ranges(&text, &mut |range: Range<usize>| {
                assert!(range.start < range.end && range.end <= text.len());
                assert!(done.is_none_or(|done| done < range.start));
                done = Some(range.end);
            });
        }

        #[test]
        fn a_canary_after_an_option_never_sings(
            before in "([a-z]{1,5}|[:/@=&,; -]){0,8}",
            option in prop::sample::select(&["--token", "-password", "--db-secret"][..]),
            space in "[ \t]{1,3}['\"]?",
            after in "([ ,;&].{0,20})?",
        ) {
            let text = std::format!("{before} {option}{space}{CANARY}{after}");
            prop_assert!(!redacted(&text).contains(CANARY), "{}", text);
        }

        #[test]
        fn ranges_keep_characters_whole(
            text in ".*",
            marks in "([ :/@=&;,\"'\\\\?\n-]|é|[bearicpswodtkn]){0,60}",
            words in "([ :/@=;<>{(\\[\\])}|\"'\n-]|é|%3[AD]|%2F|%40|token|auth|value|name|END|BEGIN|PRIVATE KEY|LS0tLS1CRUdJTi){0,60}",
        ) {
            for text in [text, marks, words] {
                // Slicing panics within a character.
                let once = masked(&text);
                let _again = masked(&once);
                let _key = (is_secret_key(&text), is_secret_group(&text));
            }
        }

        #[test]
        fn url_passwords_never_stay(password in "canary[^\n]{0,20}", before in "[a-z ,]{0,8}") {
            // Whatever is unescaped in it, but for what makes it look like a
            // port, another user or another URL.
            prop_assume!(!password.contains("://"));
            let text = std::format!("{before}amqp://user:{password}@host");
            prop_assert!(!masked(&text).contains("canary"));
        }
}
