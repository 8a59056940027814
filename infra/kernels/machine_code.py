"""What a Hopper kernel's machine code must not hold between its first warpgroup product and its last.

The source does not show it: a release at cluster scope is a fence over the whole GPU, an acquire there empties the L1 cache, and either of them, once a
stage, cost a product a quarter of its speed (infra/decisions/0003-gpu-kernels.md). A register that spills costs about as much.
"""

from __future__ import annotations

import re
import struct
import subprocess
import sysconfig
import tempfile
from pathlib import Path

INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)", re.MULTILINE)
PRODUCT = "HGMMA"
FAULTS = {
    "a fence over the whole GPU": re.compile(r"MEMBAR\.(ALL|SC)\.(GPU|SYS)"),
    "an emptied L1 cache": re.compile(r"CCTL\.IVALL"),
    "registers in local memory": re.compile(r"(LDL|STL)\b"),
}


def faults(code: bytes) -> list[str]:
    """What is wrong with this machine code (an ELF image for sm_90a), in words; empty: nothing. Raises where there is no product at all."""
    instructions = INSTRUCTION.findall(_disassemble(code))
    products = [at for at, name in enumerate(instructions) if name.startswith(PRODUCT)]
    if not products:
        raise ValueError(f"expected {PRODUCT} instructions, got none among {len(instructions)}: is it a Hopper kernel, and does nvdisasm read it?")
    inside = instructions[products[0] : products[-1] + 1]
    return [f"{what} ({name})" for what, pattern in FAULTS.items() for name in sorted({name for name in inside if pattern.match(name)})]


def functions(code: bytes) -> dict[str, bytes]:
    """Machine code of each kernel in an ELF image, by the kernel's name."""
    table, (size, count, names_at) = struct.unpack_from("<Q", code, 40)[0], struct.unpack_from("<3H", code, 58)
    headers = [struct.unpack_from("<2I4Q", code, table + i * size) for i in range(count)]
    names = headers[names_at][4]

    def name_of(offset: int) -> str:
        return code[names + offset : code.index(b"\0", names + offset)].decode()

    return {name_of(h[0]).removeprefix(".text."): code[h[4] : h[4] + h[5]] for h in headers if name_of(h[0]).startswith(".text.")}


def _disassemble(code: bytes) -> str:
    nvdisasm = next(Path(sysconfig.get_path("purelib"), "nvidia").glob("*/bin/nvdisasm"))
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code + b"\0")  # CuPy's getCUBIN drops the last byte; drivers do not mind, nvdisasm does
        file.flush()
        return subprocess.run([nvdisasm, "-c", file.name], capture_output=True, text=True, check=True).stdout
