#!/usr/bin/env python3
"""Compiles engine/src/cuda/kernels/*.cu to the PTX that lies beside them. Needs neither a GPU nor a driver, only
NVRTC, in the one version whose output is committed:

    pip install nvidia-cuda-nvrtc-cu12==12.1.105
    python3 scripts/ptx.py [path of libnvrtc.so.12]
"""
import ctypes as C
import glob
import os
import site
import sys

VERSION = (12, 1)
OPTIONS = [b"--gpu-architecture=compute_80", b"--std=c++17", b"--fmad=true"]


def find():
    if len(sys.argv) > 1:
        return sys.argv[1]
    for folder in site.getsitepackages() + [site.getusersitepackages()]:
        for path in glob.glob(folder + "/nvidia/cuda_nvrtc/lib/libnvrtc.so.12"):
            return path
    sys.exit("there is no NVRTC here: pip install nvidia-cuda-nvrtc-cu12==12.1.105")


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


def main():
    nvrtc = C.CDLL(find())
    major, minor = C.c_int(), C.c_int()
    nvrtc.nvrtcVersion(C.byref(major), C.byref(minor))
    if (major.value, minor.value) != VERSION:
        sys.exit(f"NVRTC {major.value}.{minor.value}, the committed PTX is made by {VERSION[0]}.{VERSION[1]}")
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "engine", "src", "cuda", "kernels")
    read = lambda name: open(os.path.join(folder, name), "rb").read()
    headers = {name: read(name) for name in sorted(os.listdir(folder)) if name.endswith(".cuh")}
    for file in sorted(os.listdir(folder)):
        name, kind = os.path.splitext(file)
        if kind != ".cu":
            continue
        source = read(file)
        ptx = compile_one(nvrtc, name, source, headers)
        # Comments of the compiler name its build; what is left is the program.
        lines = [line for line in ptx.splitlines() if not line.startswith("//") and line.strip()]
        value = fnv([source, *headers.values()])
        head = f"// made by scripts/ptx.py from {name}.cu and headers, FNV-1a {value:016x}"
        with open(os.path.join(folder, name + ".ptx"), "w") as out:
            out.write("\n".join([head, *lines]) + "\n")
        print(f"{name}.ptx: {sum(map(len, lines))} bytes")


if __name__ == "__main__":
    main()
