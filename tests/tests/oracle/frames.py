# Run by gdb: writes what gdb knows of every frame of every thread to the file
# $oracle_output, one thread a line, in JSON.
#
# It goes to a file, not to a pipe: gdb stops the whole process, and whoever
# reads the pipe may be stopped too.
import json

import gdb

KINDS = {
    gdb.NORMAL_FRAME: "normal",
    gdb.INLINE_FRAME: "inline",
    gdb.SIGTRAMP_FRAME: "signal",
    gdb.TAILCALL_FRAME: "tail_call",
}


def frame_facts(frame):
    sal = frame.find_sal()
    function = frame.function()
    pc = frame.pc()
    # Two bytes that say whether the thread is about to make a system call.
    code = ""
    if pc >= 2:
        try:
            code = bytes(gdb.selected_inferior().read_memory(pc - 2, 2)).hex()
        except gdb.MemoryError:
            pass
    return {
        "pc": pc,
        "kind": KINDS.get(frame.type(), "other"),
        "function": frame.name(),
        "linkage": function.linkage_name if function else None,
        "file": sal.symtab.fullname() if sal.symtab else None,
        "line": sal.line,
        "before": code,
    }


def frames_of(thread):
    thread.switch()
    frame = gdb.newest_frame()
    while frame is not None:
        yield frame_facts(frame)
        frame = frame.older()


with open(gdb.convenience_variable("oracle_output").string(), "w") as output:
    for thread in gdb.selected_inferior().threads():
        facts = {"tid": thread.ptid[1], "frames": []}
        try:
            facts["frames"].extend(frames_of(thread))
        except gdb.error as error:
            facts["error"] = str(error)
        output.write(json.dumps(facts) + "\n")
