#!/usr/bin/env python3
"""Compiles engine/src/cuda/kernels/*.cu to the PTX that lies beside them, assembles it for every architecture, and
writes what that says into docs/cuda.md. Needs neither a GPU nor a driver, only NVRTC and ptxas, each in the one version
whose output is committed:

    pip install --target WHEELS nvidia-cuda-nvrtc-cu12==12.1.105 nvidia-cuda-nvcc-cu12==12.9.86
    python3 scripts/ptx.py [--wheels WHEELS]             writes
    python3 scripts/ptx.py [--wheels WHEELS] --check     compares, and writes nothing

The check fails where a byte of the PTX is another one, where a kernel spills or keeps an array in memory, and where the
table of docs/cuda.md is not what it would be now; one that takes more registers than the table says is named. Without
one of the two tools it says which, and does the rest.
"""
import argparse
import ctypes as C
import os
import re
import site
import subprocess
import sys

# A checkout is not littered with what Python compiled.
sys.dont_write_bytecode = True
import kernels  # noqa: E402

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
FOLDER = os.path.join(ROOT, "engine", "src", "cuda", "kernels")
PAGE = os.path.join(ROOT, "docs", "cuda.md")
BEGIN, END = "<!-- written by scripts/ptx.py -->\n", "<!-- end of scripts/ptx.py -->"
NVRTC, PTXAS = "12.1", "12.9"
PACKAGES = {"NVRTC": "nvidia-cuda-nvrtc-cu12==12.1.105", "ptxas": "nvidia-cuda-nvcc-cu12==12.9.86"}
OPTIONS = [b"--gpu-architecture=compute_80", b"--std=c++17", b"--fmad=true"]
ARCHITECTURES = [80, 86, 89, 90, 100]


def find(wheels, path):
    """A file of the wheels, in the folder that was named or among the packages of this Python."""
    for folder in [wheels] if wheels else site.getsitepackages() + [site.getusersitepackages()]:
        if os.path.exists(os.path.join(folder, "nvidia", path)):
            return os.path.join(folder, "nvidia", path)
    return None


def open_nvrtc(wheels):
    """The library, or why there is none."""
    path = find(wheels, "cuda_nvrtc/lib/libnvrtc.so.12")
    if not path:
        return None, f"there is no NVRTC {NVRTC} here"
    library, major, minor = C.CDLL(path), C.c_int(), C.c_int()
    library.nvrtcVersion(C.byref(major), C.byref(minor))
    version = f"{major.value}.{minor.value}"
    return (library, None) if version == NVRTC else (None, f"this is NVRTC {version}, not {NVRTC}")


def find_ptxas(wheels):
    """The program, or why there is none."""
    path = find(wheels, "cuda_nvcc/bin/ptxas")
    if not path:
        return None, f"there is no ptxas {PTXAS} here"
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"release ([\d.]+)", said)[1]
    return (path, None) if version == PTXAS else (None, f"this is ptxas {version}, not {PTXAS}")


def fnv(texts):
    value = 0xCBF29CE484222325
    for byte in b"".join(texts):
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def compile_one(nvrtc, name, source, headers):
    program = C.c_void_p()
    names = (C.c_char_p * len(headers))(*[n.encode() for n in headers])
    texts = (C.c_char_p * len(headers))(*headers.values())
    created = nvrtc.nvrtcCreateProgram(C.byref(program), source, name.encode() + b".cu", len(headers), texts, names)
    assert created == 0, created
    failed = nvrtc.nvrtcCompileProgram(program, len(OPTIONS), (C.c_char_p * len(OPTIONS))(*OPTIONS))

    def text(what):
        n = C.c_size_t()
        getattr(nvrtc, f"nvrtcGet{what}Size")(program, C.byref(n))
        buffer = C.create_string_buffer(n.value)
        getattr(nvrtc, f"nvrtcGet{what}")(program, buffer)
        return buffer.raw.rstrip(b"\0").decode()

    log = text("ProgramLog").strip()
    if log:
        print(log)
    if failed:
        sys.exit(f"{name}.cu: NVRTC error {failed}")
    return text("PTX")


def read(name):
    with open(os.path.join(FOLDER, name), "rb") as file:
        return file.read()


def compile_all(nvrtc):
    """The text of every .ptx by its name."""
    headers = {name: read(name) for name in sorted(os.listdir(FOLDER)) if name.endswith(".cuh")}
    made = {}
    for file in sorted(os.listdir(FOLDER)):
        name, kind = os.path.splitext(file)
        if kind != ".cu":
            continue
        source = read(file)
        ptx = compile_one(nvrtc, name, source, headers)
        # Comments of the compiler name its build; what is left is the program.
        lines = [line for line in ptx.splitlines() if not line.startswith("//") and line.strip()]
        value = fnv([source, *headers.values()])
        head = f"// made by scripts/ptx.py from {name}.cu and headers, FNV-1a {value:016x}"
        made[name + ".ptx"] = "\n".join([head, *lines]) + "\n"
    return made


def assembled(ptxas, wrong):
    """Of every kernel: bytes of shared memory, and registers by architecture. What a kernel must not do is added to
    `wrong`."""
    found = {}
    for file in sorted(name for name in os.listdir(FOLDER) if name.endswith(".ptx")):
        # ptxas may do without such an array; the compiler of another driver may not.
        if b"__local_depot" in read(file):
            wrong.append(f"{file} has arrays in memory: a loop over registers lacks UNROLL")
        for arch in ARCHITECTURES:
            command = [ptxas, "-v", f"-arch=sm_{arch}", os.path.join(FOLDER, file), "-o", os.devnull]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{file}, sm_{arch}: {done.stderr}")
            for part in done.stderr.split("Compiling entry function ")[1:]:
                name = part.split("'")[1]
                stack, stores, loads = map(int, re.search(
                    r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part).groups())
                if stack or stores or loads:
                    wrong.append(f"{name} on sm_{arch}: {stores} bytes spilled, {loads} read back, "
                                 f"{stack} bytes of arrays in memory")
                shared = re.search(r"(\d+) bytes smem", part)
                kernel = found.setdefault(name, {"shared": int(shared[1]) if shared else 0})
                kernel[arch] = int(re.search(r"Used (\d+) registers", part)[1])
    return found


def number(x):
    """Three digits."""
    return f"{x:.3g}" if x < 1000 else f"{x:.0f}"


def work_cells(name):
    what, operations, size = kernels.WORK[name]
    times = [number(1e6 * kernels.seconds(name, operations, size, device)) for device in kernels.DEVICES]
    return [what, number(operations / 1e6), number(size / 1e6), *times]


def section(resources):
    """The part of docs/cuda.md between the marks. `resources` of each kernel are the cells for shared memory and
    registers."""
    head = ["Kernel", "Shared, B", "Registers on sm_80, 86, 89, 90, 100", "Launch", "MFLOP", "MB",
            "A100, µs (predicted)", "H100, µs (predicted)"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for name in sorted(resources):
        lines.append("| " + " | ".join([f"`{name}`", *resources[name], *work_cells(name)]) + " |")
    operations = kernels.products()
    plain = [number(1e6 * operations / rates[0]) for rates in kernels.DEVICES.values()]
    lines += ["", f"All products of the encoder in such a step, forward and backward: {number(operations / 1e9)} GFLOP,",
              f"predicted {plain[0]} µs on an A100 and {plain[1]} µs on an H100 at the peak of f32."]
    return "\n".join(lines) + "\n"


def stated(text):
    """The cells for resources of every kernel in the table of docs/cuda.md."""
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \|", text, re.MULTILINE)
    return {name: [shared, registers] for name, shared, registers in rows}


def over(name, said, now, wrong):
    """Names registers above those of the table."""
    for arch, a, b in zip(ARCHITECTURES, said.split(", "), now.split(", ")):
        if int(b) > int(a):
            wrong.append(f"{name} on sm_{arch}: {b} registers, docs/cuda.md allows {a}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", help="the folder that pip installed the two packages to")
    parser.add_argument("--check", action="store_true", help="compare with what is committed, write nothing")
    args = parser.parse_args()
    (nvrtc, no_nvrtc), (ptxas, no_ptxas) = open_nvrtc(args.wheels), find_ptxas(args.wheels)
    missing = {"NVRTC": no_nvrtc, "ptxas": no_ptxas}
    for tool, why in missing.items():
        if why and not args.check:
            sys.exit(f"{why}: pip install {PACKAGES[tool]}")
        if why:
            print(f"skipped: {why} ({PACKAGES[tool]})")
    wrong = []
    for name, text in (compile_all(nvrtc) if nvrtc else {}).items():
        if not args.check:
            with open(os.path.join(FOLDER, name), "w") as out:
                out.write(text)
        elif not os.path.exists(os.path.join(FOLDER, name)) or read(name) != text.encode():
            wrong.append(f"{name} is not what NVRTC {NVRTC} makes of its source: run scripts/ptx.py")
        print(f"{name}: {len(text)} bytes")
    with open(PAGE, encoding="utf8") as file:
        head, rest = file.read().split(BEGIN)
    old, tail = rest.split(END)
    said = stated(old)
    resources = said
    if ptxas:
        found = assembled(ptxas, wrong)
        resources = {name: [str(k["shared"]), ", ".join(str(k[a]) for a in ARCHITECTURES)] for name, k in found.items()}
        print(f"{len(found)} kernels assembled for sm_{', '.join(map(str, ARCHITECTURES))}")
    if set(resources) != set(kernels.WORK):
        sys.exit(f"scripts/kernels.py and the kernels differ: {sorted(set(resources) ^ set(kernels.WORK))}")
    new = section(resources)
    if args.check and new != old:
        for name in sorted(set(said) & set(resources)):
            over(name, said[name][1], resources[name][1], wrong)
        wrong.append("the table of docs/cuda.md is stale: run scripts/ptx.py")
    if wrong:
        sys.exit("\n".join(wrong))
    if not args.check:
        with open(PAGE, "w", encoding="utf8") as file:
            file.write(head + BEGIN + new + END + tail)


if __name__ == "__main__":
    main()
