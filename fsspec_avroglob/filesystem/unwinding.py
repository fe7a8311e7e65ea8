"""Whether a file is closed because the work on it failed.

Wrappers (text, compression, pandas, pyarrow) close the file below them after an error as after a
success. The interpreter knows the difference: the error is being handled, and the code that
handles it will raise it again. A ``with`` statement and a ``finally`` do; an ``except`` block that
goes on does not, and a file that it closes is complete.
"""

from __future__ import annotations

import dis
import sys
from bisect import bisect_right
from types import CodeType, FrameType

_GOES_ON = frozenset({"POP_EXCEPT", "RETURN_VALUE", "RETURN_CONST"})
_ENDS = frozenset({"RERAISE", "RAISE_VARARGS"})
_JUMPS = frozenset({"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"})
_CONDITIONAL = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)

# The instructions by which ``async with`` awaits the end of its block.
_AWAITING = frozenset(
    {"GET_AWAITABLE", "LOAD_CONST", "SEND", "YIELD_VALUE", "RESUME", *_JUMPS, "CACHE"}
)


def unwinding(before: BaseException | None = None) -> BaseException | None:
    """Return the error that is on its way through the code that called, None if there is none.

    Errors that were being handled already when *before* was do not count. An error that is handled
    by compiled code counts, because nothing says what that code does next.
    """
    error = sys.exception()
    known = before
    while known is not None:
        if known is error:
            return None
        known = known.__context__
    if error is None:
        return None
    handler = error.__traceback__.tb_frame if error.__traceback__ is not None else None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame is not handler:
        frame = frame.f_back
    return error if frame is None or _raises_again(frame.f_code, frame.f_lasti) else None


def _raises_again(code: CodeType, offset: int) -> bool:
    """Whether a handler of *code* that is at *offset* ends with its error on every path."""
    instructions = list(dis.get_instructions(code))
    index_of = {instruction.offset: i for i, instruction in enumerate(instructions)}
    # The offset may be that of an inline cache, which follows its instruction.
    now = bisect_right([instruction.offset for instruction in instructions], offset) - 1
    start = now
    while start and instructions[start].opname in _AWAITING:
        start -= 1
    if instructions[start].opname == "WITH_EXCEPT_START":
        return True
    ahead, seen = [now + 1], set[int]()
    while ahead:
        at = ahead.pop()
        if at in seen or at >= len(instructions):
            continue
        seen.add(at)
        instruction = instructions[at]
        if instruction.opname in _GOES_ON:
            return False
        if instruction.opname in _ENDS:
            continue
        if instruction.opcode in _CONDITIONAL:
            ahead.append(index_of[instruction.argval])
            if instruction.opname in _JUMPS:
                continue
        ahead.append(at + 1)
    return True
