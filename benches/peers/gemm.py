"""Matrix products of training in Lode, MKL and PyTorch, side by side.

    cargo build --release -p benches --example gemm
    python benches/peers/gemm.py [THREADS ...] [--rounds N]          needs torch, and mkl from PyPI

Every library runs in a process of its own, in turn, so that a busy minute strikes all. One thread is timed by
the processor, more by the wall. Printed: for each kind of product the geometric mean of GFLOP/s, of its share
of the peak of fused multiply-adds, and of the ratios Lode / library, medians of the rounds.
"""
import argparse, ctypes, math, os, pathlib, statistics, subprocess, sys, time

LODE = pathlib.Path(__file__).resolve().parents[2] / "target/release/examples/gemm"


def products(lines):
    """What the example printed: the peak, and seconds by product."""
    peak, times = None, {}
    for line in lines.split("\n"):
        match line.split():
            case ["peak", value]:
                peak = float(value)
            case [kind, m, k, n, seconds]:
                times[kind, int(m), int(k), int(n)] = float(seconds)
    return peak, times


def worker(library, threads, shapes):
    """Times one library, in this process."""
    import torch

    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    if library == "mkl":
        mkl = ctypes.CDLL(str(pathlib.Path(sys.prefix) / "lib/libmkl_rt.so.3"))
        mkl.MKL_Set_Num_Threads(threads)
    for kind, m, k, n in shapes:
        a, b, c = torch.rand(m * k) - 0.5, torch.rand(k * n) - 0.5, torch.empty(m, n)
        a_columns, b_columns = kind == "TN", kind == "NT"
        am = a.view(k, m).t() if a_columns else a.view(m, k)
        bm = b.view(n, k).t() if b_columns else b.view(k, n)
        call = lambda: torch.mm(am, bm, out=c)
        if library == "mkl":
            p, one, zero = ctypes.c_void_p, ctypes.c_float(1), ctypes.c_float(0)
            how = 101, 112 if a_columns else 111, 112 if b_columns else 111
            lda, ldb = m if a_columns else k, k if b_columns else n
            args = *how, m, n, k, one, p(a.data_ptr()), lda, p(b.data_ptr()), ldb, zero, p(c.data_ptr()), n
            call = lambda: mkl.cblas_sgemm(*args)
            call()
            assert torch.allclose(c, am @ bm, atol=1e-2)
        calls = math.ceil(3e8 / (2 * m * k * n))
        times = []
        for _ in range(6):
            since = clock()
            for _ in range(calls):
                call()
            times.append((clock() - since) / calls)
        print(kind, m, k, n, statistics.median(times[1:]))


def mean(values):
    return math.exp(statistics.fmean(map(math.log, values)))


def compare(threads, rounds):
    peaks, seconds = [], {}
    for _ in range(rounds):
        out = subprocess.run([LODE, str(threads)], capture_output=True, text=True, check=True).stdout
        peak, times = products(out)
        peaks.append(peak)
        results = {"lode": times}
        for library in ["mkl", "torch"]:
            command = [sys.executable, __file__, "--worker", library, str(threads)]
            shapes = "\n".join(" ".join(map(str, shape)) for shape in times)
            run = subprocess.run(command, input=shapes, capture_output=True, text=True, check=True)
            results[library] = products(run.stdout)[1]
        for library, times in results.items():
            for shape, t in times.items():
                seconds.setdefault((library, shape), []).append(t)
    peak, shapes = max(peaks), list(times)
    middle = {key: statistics.median(values) for key, values in seconds.items()}
    print(f"{threads} threads, {rounds} rounds, peak {peak / 1e9:.1f} GFLOP/s")
    print("kind  library  GFLOP/s  of peak  Lode/library (least .. most)")
    for kind in ["NN", "NT", "TN"]:
        ours = [s for s in shapes if s[0] == kind]
        for library in ["lode", "mkl", "torch"]:
            rate = mean([2 * s[1] * s[2] * s[3] / middle[library, s] for s in ours])
            # A ratio for each round, since all libraries of a round met the same neighbours.
            pairs = {s: [t / l for l, t in zip(seconds["lode", s], seconds[library, s])] for s in ours}
            ratios = [statistics.median(r) for r in pairs.values()]
            line = f"{kind:<5} {library:<7} {rate / 1e9:8.1f} {100 * rate / peak:7.0f} %"
            print(line + f"  {mean(ratios):6.3f} ({min(ratios):.2f} .. {max(ratios):.2f})")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        lines = [line.split() for line in sys.stdin if line.strip()]
        worker(sys.argv[2], int(sys.argv[3]), [(s[0], *map(int, s[1:])) for s in lines])
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
        parser.add_argument("threads", type=int, nargs="*", default=[1, 2])
        parser.add_argument("--rounds", type=int, default=3)
        options = parser.parse_args()
        for threads in options.threads:
            compare(threads, options.rounds)
