"""Reads a pickle without executing it: a small stack machine over pickletools' opcodes that fails closed.

torch's own allow-list was broken twice by what it let containers be (CVE-2025-32434, CVE-2026-24747), so every opcode
here checks the type of what it finds on the stack, and the only "calls" are those of CALLS: they build plain data.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from resnetfea.errors import ResnetFeaError

# in all pickles of one machine; a ResNet-152 detector with its optimiser's state: about 60 for each of 3,000 tensors
MAX_OPCODES = 500_000
MAX_BITS = 128  # torch's magic number has 77; arithmetic with millions of digits takes minutes
MARK = object()
UNREAD = object()  # in place of a text beyond MAX_WIDE: nothing is done with it
OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
VALUES = frozenset(  # opcodes whose argument is the value
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
SLICES = {  # of these, the ones whose argument may be an array's bytes: taken without a copy; bytes of their length
    "BINSTRING": 4, "SHORT_BINSTRING": 1, "BINBYTES": 4, "SHORT_BINBYTES": 1, "BINBYTES8": 8, "BYTEARRAY8": 8,
}  # fmt: skip
LONGEST_NAME = 4096  # Python 2 has one opcode for text and bytes; nothing longer than this is a name
TEXTS = {"BINUNICODE": 4, "SHORT_BINUNICODE": 1, "BINUNICODE8": 8}  # text, behind so many bytes of its length
LAST_LATIN = 0xC3  # the first byte of UTF-8 for the last of Latin-1, in which Python 3 writes arrays for Python 2
MAX_WIDE = (
    16 << 20
)  # bytes of texts with letters beyond it, which take up to four times their bytes: settings, comments
SHORT = 64  # bytes of a text that is not looked at
MAX_KEY = 1 << 60  # numbers from 2^61 on may have one hash all together, and a dictionary of them takes hours
MAX_MEMO = 1 << 32  # as many as LONG_BINPUT can number
MODELS = re.compile(r"(torch\.nn|torch\.fx|torchvision|timm|transformers|mmcv|mmengine|mmpretrain|mmdet|detectron2)\.")
STATE_DICT = "torch.save(model.state_dict(), FILE)"
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Global(NamedTuple):
    """A name that the pickle mentions. It stays a name: nothing is imported."""

    module: str
    name: str


class UnsafePickle(ResnetFeaError):
    """The pickle holds something outside the vocabulary."""


class Source:
    """A pickle's bytes, read from front to back. Unlike BytesIO it gives slices that are not copies."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.wide = 0  # bytes of texts beyond Latin-1 so far

    @property
    def left(self) -> int:
        """Bytes that have not been read."""
        return len(self.data) - self.at

    def read(self, size: int) -> bytes:
        """So many bytes, or what is left of them: what pickletools' readers expect."""
        return bytes(self.slice(min(size, self.left)))

    def readline(self) -> bytes:
        """Up to a line break and with it."""
        end = self.data.find(b"\n", self.at) + 1
        return bytes(self.slice((end or len(self.data)) - self.at))

    def too_wide(self, size: int) -> bool:
        """Whether another such text is one too many."""
        self.wide += size
        return self.wide > MAX_WIDE

    def slice(self, size: int) -> memoryview:
        """So many bytes, all of them there."""
        if not 0 <= size <= self.left:
            raise UnsafePickle("its pickle ends in the middle of a value: cut short?")
        self.at += size
        return memoryview(self.data)[self.at - size : self.at]


class Machine:
    """One pickle's stack and memo.

    Args:
        calls: what REDUCE may apply: the global's name to a function of plain arguments.
        names: globals that may be mentioned besides, as arguments.
        persistent: turns a persistent id (a tuple) into a value; None where the format has none.
    """

    def __init__(
        self,
        calls: Mapping[Global, Callable[..., Any]],
        names: frozenset[Global] = frozenset(),
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self.calls, self.names, self.persistent = calls, names, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self._left = MAX_OPCODES

    def run(self, source: Source) -> Any:
        """The value of the pickle that begins here; the source is left behind its STOP."""
        self.stack, self.memo = [], {}
        made = 0  # bytes of arrays and encoded texts: each comes from bytes of the file, and goes into one array
        try:
            for name, argument in _opcodes(source):
                self._left -= 1
                if self._left < 0:
                    raise UnsafePickle("its pickle has too many opcodes")
                self._step(name, argument)
                if name in ("REDUCE", "BUILD"):
                    made += nbytes(self.stack[-1])
                    if made > 2 * len(source.data):
                        raise UnsafePickle(
                            "its pickle makes more numbers than it has: one run of bytes used many times"
                        )
        except ResnetFeaError:
            raise
        except Exception as error:  # pickletools raises ValueError, UnicodeError, OverflowError, ... on broken bytes
            raise UnsafePickle(f"its pickle is broken ({error})") from error
        if len(self.stack) != 1 or self.stack[0] is MARK:
            raise UnsafePickle("its pickle leaves no single value")
        return self.stack.pop()

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in VALUES:
            if isinstance(argument, int) and argument.bit_length() > MAX_BITS:
                raise UnsafePickle("its pickle has a number of more than 128 bits")
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
        elif name == "MARK":
            stack.append(MARK)
        elif name in TUPLES:
            stack.append(tuple(self._pop_many(TUPLES[name])))
        elif name == "TUPLE":
            stack.append(tuple(self._pop_to_mark()))
        elif name == "LIST":
            stack.append(list(self._pop_to_mark()))
        elif name == "DICT":
            stack.append(filled({}, self._pop_to_mark()))
        elif name in ("SETITEM", "SETITEMS"):
            items = self._pop_many(2) if name == "SETITEM" else self._pop_to_mark()
            filled(self._top(dict), items)
        elif name in ("APPEND", "APPENDS"):
            items = self._pop_many(1) if name == "APPEND" else self._pop_to_mark()
            self._top(list).extend(items)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            if not 0 <= argument < MAX_MEMO:
                raise UnsafePickle("its pickle numbers a value in a way that Python does not")
            self.memo[argument] = self._top(object)
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self._top(object)
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            if argument not in self.memo:
                raise UnsafePickle("its pickle refers to a value that it never stored")
            stack.append(self.memo[argument])
        elif name == "GLOBAL":
            stack.append(self._known(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack.append(self._known(*self._pop_many(2)))
        elif name in ("REDUCE", "NEWOBJ"):
            stack.append(self._called(*self._pop_many(2)))
        elif name == "BUILD":
            (state,) = self._pop_many(1)
            top = self._top(object)
            if hasattr(top, "build"):
                top.build(state)
            else:  # torch hangs `_metadata` (versions of modules) on its OrderedDict: not needed
                self._top(dict)
        elif name == "BINPERSID" and self.persistent is not None:
            stack.append(self.persistent(*self._pop_many(1)))
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise UnsafePickle(f"its pickle uses the opcode {name}, which no weights file needs")

    def _known(self, module: Any, name: Any) -> Global:
        if not isinstance(module, str) or not isinstance(name, str):  # str() of nested tuples may fill the memory
            raise UnsafePickle("its pickle asks for a global whose name is not text")
        found = Global(module, name)
        if found not in self.calls and found not in self.names:
            what = f"its pickle asks for {found.module}.{found.name}"
            if MODELS.match(module):
                raise UnsafePickle(f"{what}: it is a whole model, with its code; save the tensors alone: {STATE_DICT}")
            raise UnsafePickle(f"{what}, which no weights file needs; where you trust it, save the tensors alone")
        return found

    def _called(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Global) or function not in self.calls or not isinstance(arguments, tuple):
            raise UnsafePickle("its pickle calls what is not a known function")
        return self.calls[function](*arguments)

    def _top(self, kind: type) -> Any:
        if not self.stack or self.stack[-1] is MARK or not isinstance(self.stack[-1], kind):
            raise UnsafePickle("its pickle applies an opcode to a value of the wrong kind")
        return self.stack[-1]

    def _pop_many(self, count: int) -> list[Any]:
        values = self.stack[len(self.stack) - count :] if len(self.stack) >= count else [MARK]
        if any(value is MARK for value in values):
            raise UnsafePickle("its pickle takes more from the stack than is there")
        del self.stack[len(self.stack) - count :]
        return values

    def _pop_to_mark(self) -> list[Any]:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is MARK:
                values = self.stack[index + 1 :]
                del self.stack[index:]
                return values
        raise UnsafePickle("its pickle closes a group that it never opened")


def _opcodes(source: Source) -> Iterator[tuple[str, Any]]:
    """Name and argument of each opcode up to STOP. Like pickletools.genops, which would copy what SLICES slices."""
    while True:
        opcode = OPCODES.get(source.read(1))
        if opcode is None:
            raise UnsafePickle("its pickle has an unknown opcode, or ends without STOP: cut short?")
        argument: Any = None
        if opcode.name in SLICES:
            argument = source.slice(int.from_bytes(source.read(SLICES[opcode.name]), "little"))
            if opcode.name.endswith("STRING") and len(argument) <= LONGEST_NAME:
                argument = str(argument, "latin-1")
        elif opcode.name in TEXTS:
            argument = _text(source, source.slice(int.from_bytes(source.read(TEXTS[opcode.name]), "little")))
        elif opcode.name == "UNICODE":
            argument = _line(source)
        elif opcode.arg is not None:
            argument = opcode.arg.reader(source)  # type: ignore[arg-type] # which needs read and readline only
        yield opcode.name, argument
        if opcode.name == "STOP":
            return


def _text(source: Source, data: memoryview) -> Any:
    """As Python writes it."""
    wide = len(data) > SHORT and np.frombuffer(data, np.uint8).max() > LAST_LATIN
    return UNREAD if wide and source.too_wide(len(data)) else str(data, "utf-8", "surrogatepass")


def _line(source: Source) -> Any:
    """The same as protocol 0 has it."""
    data = source.readline()
    wide = len(data) > SHORT and re.search(rb"\\U|\\u(?!00)", data)
    return UNREAD if wide and source.too_wide(len(data)) else str(data.removesuffix(b"\n"), "raw-unicode-escape")


def nbytes(value: Any) -> int:
    """Of what a call made: bytes or an array."""
    return len(value) if isinstance(value, bytes) else getattr(value, "nbytes", 0)


def filled(target: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    """The dictionary with these keys and values, which alternate; no key may be there twice."""
    if len(items) % 2:
        raise UnsafePickle("its pickle has a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str | int):
            raise UnsafePickle("its pickle has a key that is neither text nor a number")
        if isinstance(key, int) and abs(key) > MAX_KEY:
            raise UnsafePickle("its pickle has a key that is too large a number")
        if key in target:
            raise UnsafePickle(f"its pickle names {key!r} twice")
        target[key] = value
    return target
