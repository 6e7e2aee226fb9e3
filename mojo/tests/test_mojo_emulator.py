"""The emulator's watcher, on small programs: each kind of fault, and the same without it."""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path

import numpy as np
import pytest
from gpu.execute import counts
from whisper_mel_mojo.gpu.emulator.program import Finding, Kernel, Launch
from whisper_mel_mojo.gpu.emulator.ptx import PTXError, Statement, read
from whisper_mel_mojo.gpu.emulator.translate import built, describe, translated

THREADS = 64
ORDERS = ("forwards", "backwards", "warps:1", "shuffled:1", "shuffled:2")
HEAD = """.version 8.5
.target sm_90a
.address_size 64
.extern .shared .align 16 .b8 memory[];
.global .align 4 .b8 table[8] = {1, 0, 0, 0, 2, 0, 0, 0};
.visible .entry kernel(.param .u64 a, .param .u64 b, .param .u64 out, .param .u32 n)
{
.reg .pred %p, %q;
.reg .b16 %h;
.reg .b32 %t, %at, %next, %v, %w, %x, %y, %n, %rank;
.reg .b64 %a, %b, %out, %d, %e;
ld.param.b64 %a, [a];
ld.param.b64 %b, [b];
ld.param.b64 %out, [out];
ld.param.b32 %n, [n];
mov.u32 %t, %tid.x;
mov.u32 %rank, %cluster_ctarank;
mul.wide.u32 %d, %t, 4;
add.s64 %a, %a, %d;
add.s64 %b, %b, %d;
mov.u32 %v, %ctaid.x;
mad.lo.u32 %v, %v, 64, %t;
mul.wide.u32 %d, %v, 4;
add.s64 %out, %out, %d;
shl.b32 %at, %t, 2;
add.u32 %next, %at, 4;
and.b32 %next, %next, 255;
ld.global.b32 %v, [%a];
"""


def ptx(body: str) -> str:
    """A kernel: thread t has its words of a, b and out, and in shared memory %at, and %next."""
    return HEAD + body + "\nst.global.b32 [%out], %v;\nret;\n}\n"


def run(
    body: str, order: str = "forwards", cluster: int = 1, room: int | None = None, n: int = 0
) -> list[int]:
    """The result of a kernel whose thread t has t in a, and 100 + t in b."""
    a = np.arange(THREADS, dtype=np.uint32)
    b = 100 + a
    out = np.zeros(THREADS * cluster, np.uint32)
    launch = Launch(THREADS, cluster, 256, cluster, order)
    Kernel(ptx(body)).run((a, b), out, (ctypes.c_uint32(n),), launch, room or out.nbytes)
    return list(map(int, out))


def counted(text: str, opcode: str) -> dict[str, int]:
    """What a kernel that has been run with -DCOUNT, and no other time, counted of an opcode."""
    rows = counts.read_counts(ctypes.CDLL(str(built(text, "-DCOUNT"))))
    statements = [it for it in read(text).body if isinstance(it, Statement)]
    [site] = [i for i, it in enumerate(statements) if it.opcode == opcode]
    return dict(zip(counts.FIELDS, rows[site].tolist(), strict=True))


def passed_on(by: int = 1) -> list[int]:
    return [(t + by) % THREADS for t in range(THREADS)]


STORE = "st.shared.b32 [%at], %v;\n"
LOAD = "ld.shared.b32 %v, [%next];\n"
CLUSTER = "barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;\n"
ABROAD = """xor.b32 %rank, %rank, 1;
{ .reg .b32 there; mapa.shared::cluster.u32 there, %at, %rank;
  ld.shared::cluster.b32 %v, [there]; }
"""
COPY = "cp.async.ca.shared.global [%at], [%b], 4;\n"
POLICY = "createpolicy.fractional.L2::evict_first.b64 %d, 1.0;\n"
HINTED = "cp.async.ca.shared.global.L2::cache_hint [%at], [%b], 4"
HALVES = "cvt.u16.u32 %h, %v; st.shared.b16 [%at+2], %h; st.shared.b16 [%at], %h;\n"

RIGHT = {
    "shared memory": (STORE + "bar.sync 0;\n" + LOAD, passed_on()),
    "half words": (
        HALVES + "bar.sync 0; ld.shared.u16 %v, [%next+2];",
        passed_on(),
    ),
    "signed half words": (
        """neg.s32 %w, %v; cvt.u16.u32 %h, %w; st.shared.b32 [%at], 0;
st.shared.b16 [%at+2], %h; bar.sync 0; ld.shared.s16 %w, [%next+2]; neg.s32 %v, %w;
""",
        passed_on(),
    ),
    # What the half words hold is overwritten at the end; they are allowed.
    "half words of the result": (
        "cvt.u16.u32 %h, %v; st.global.b16 [%out+2], %h; st.global.b16 [%out], %h;",
        list(range(THREADS)),
    ),
    "a barrier for all by name": (STORE + "barrier.sync.aligned 3, 64;\n" + LOAD, passed_on()),
    # Each warp waits for its own 32 threads only, and exchanges within them.
    "a barrier for one warp": (
        STORE
        + """xor.b32 %next, %at, 4; shr.u32 %w, %t, 5; add.u32 %w, %w, 1;
bar.sync %w, 32;
"""
        + LOAD,
        [t ^ 1 for t in range(THREADS)],
    ),
    # The first warp writes and arrives; the second waits and reads.
    "a producer and a consumer": (
        """setp.lt.u32 %p, %t, 32;
@!%p bra $READER;
st.shared.b32 [%at], %v;
bar.arrive 1, 64;
bra $END;
$READER:
bar.sync 1, 64;
ld.shared.b32 %v, [%at+-128];
$END:
""",
        [t % 32 for t in range(THREADS)],
    ),
    "a copy": (
        COPY + "cp.async.commit_group; cp.async.wait_group 0; bar.sync 0;\n" + LOAD,
        [100 + it for it in passed_on()],
    ),
    "two groups of copies": (
        COPY
        + "cp.async.commit_group; cp.async.commit_group; cp.async.wait_group 1;"
        + " ld.shared.b32 %v, [%at];",
        [100 + t for t in range(THREADS)],
    ),
    "a copy with a cache policy": (
        POLICY + HINTED + ", %d; cp.async.wait_all; ld.shared.b32 %v, [%at];",
        [100 + t for t in range(THREADS)],
    ),
    "fewer bytes, with a cache policy": (
        POLICY + HINTED + ", 0, %d; cp.async.wait_all; ld.shared.b32 %v, [%at];",
        [0] * THREADS,
    ),
    "fewer bytes than are copied": (
        "cp.async.ca.shared.global [%at], [%b], 4, 0; cp.async.wait_all; ld.shared.b32 %v, [%at];",
        [0] * THREADS,
    ),
    "vectors": (
        """and.b32 %at, %at, 240;
and.b32 %w, %t, 3; setp.eq.u32 %p, %w, 0; add.u32 %w, %v, 1; add.u32 %x, %v, 2;
@%p st.shared.v4.b32 [%at], {%v, %w, %x, 7};
bar.sync 0;
ld.shared.v2.b32 {_, %v}, [%at+8];
mov.b64 %d, {%v, %w};
mov.b64 {%v, %x}, %d;
""",
        [7] * THREADS,
    ),
    "constants": ("ld.global.nc.b32 %v, [table+4];", [2] * THREADS),
    "local memory": (
        """.local .align 8 .b8 depot[16];
mov.b64 %d, depot; cvta.local.u64 %e, %d;
st.local.b32 [%d+8], %v; ld.local.b32 %v, [depot+8];
""",
        list(range(THREADS)),
    ),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", RIGHT)
def test_right_programs(name: str, order: str) -> None:
    body, expected = RIGHT[name]
    assert run(body, order) == expected


@pytest.mark.parametrize("order", ORDERS)
def test_another_blocks_memory(order: str) -> None:
    """Written, waited for, read, and waited for again before a block ends."""
    out = run("add.u32 %v, %v, %rank;\n" + STORE + CLUSTER + ABROAD + CLUSTER, order, cluster=2)
    assert out == [t + 1 for t in range(THREADS)] + list(range(THREADS))


WRONG = {
    "unwritten": ("ld.shared.b32 %v, [%at];", r"read of offset \d+, which was not written"),
    "half unwritten": (
        "cvt.u16.u32 %h, %v; st.shared.b16 [%at], %h; ld.shared.b32 %v, [%at];",
        r"read of offset \d+, which was not written",
    ),
    "no barrier": (STORE + LOAD, "race in shared memory|was not written"),
    "read, then written": (
        STORE + "bar.sync 0;\n" + LOAD + STORE,
        r"race in shared memory: (write of offset \d+, which thread \d+ of block 0 read|read)",
    ),
    "all write one word": ("st.shared.b32 [memory+8], %v;", "race in shared"),
    "neighbouring half words": (
        "and.b32 %w, %at, 252; cvt.u16.u32 %h, %v; st.shared.b16 [%next+2], %h;"
        " st.shared.b16 [%at+2], %h;",
        "race in shared memory: write",
    ),
    "beyond shared memory": ("st.shared.b32 [%at+4], %v;", "4 bytes at 256 are beyond .* 256"),
    "misaligned": ("st.shared.b32 [%at+2], %v;", "no multiple of 4"),
    "misaligned vector": ("st.shared.v2.b32 [%at], {%v, %v};", "no multiple of 8"),
    "beyond the input": ("ld.global.b32 %v, [%a+4];", "beyond the allocation's 256 bytes|no mem"),
    "before the input": ("ld.global.b32 %v, [%a+-4];", "in no memory"),
    "misaligned global memory": ("ld.global.b32 %v, [%a+2];", "no multiple of 4"),
    "an input written": ("st.global.b32 [%a], %v;", "memory that is only read"),
    "a constant written": ("st.global.b32 [table], %v;", "memory that is only read"),
    "the output read first": ("ld.global.b32 %v, [%out];", r"read of offset \d+, which was not"),
    "two threads, one half word": (
        "cvt.u16.u32 %h, %v; st.global.b16 [%out+2], %h; setp.eq.u32 %p, %t, 5;"
        " @%p st.global.b16 [%out+6], %h;",
        "race in global memory: write of offset (22|26), which thread . of block 0 wrote",
    ),
    "two threads, one value": (
        "setp.eq.u32 %p, %t, 5; @%p st.global.b32 [%out+4], %v;",
        "race in global memory: write of offset 24, which thread . of block 0 wrote",
    ),
    "half a warp at a barrier": (
        STORE + "setp.lt.u32 %p, %t, 40; @!%p bra $END; bar.sync 0;\n$END:",
        "a barrier that not all threads reach; 24 have ended",
    ),
    "different barriers in a warp": (
        "setp.lt.u32 %p, %t, 40; @!%p bra $ELSE; bar.sync 0; bra $END;\n$ELSE: bar.sync 0;\n$END:",
        "a barrier that the threads of a warp reach in different places",
    ),
    "different numbers at a barrier": (
        "setp.lt.u32 %p, %t, 32; selp.b32 %w, 64, 32, %p; bar.sync 1, %w;",
        "a barrier for|that not all threads reach",
    ),
    "a barrier for too few": (
        STORE + "bar.sync 1, 32;\n" + LOAD,
        "race in shared|was not written",
    ),
    "a barrier for 33": ("bar.sync 1, 33;", "a barrier for 33 of 64 threads"),
    "a barrier that nobody completes": ("bar.sync 1, 32; bar.sync %v, 64;", "barrier"),
    "no wait for a copy": (COPY + "ld.shared.b32 %v, [%at];", r"read of offset \d+ while it is"),
    "no barrier after a copy": (
        COPY + "cp.async.wait_all;\n" + LOAD,
        "race in shared|while it is copied|was not written",
    ),
    "a group too few": (
        COPY + "cp.async.commit_group; cp.async.wait_group 1; ld.shared.b32 %v, [%at];",
        "while it is copied",
    ),
    "a write into a copy": (COPY + STORE, r"write of offset \d+ while it is copied"),
    "a copy that is left": (COPY, "a copy that was not waited for"),
    "a number as a cache policy": (
        "mov.b64 %d, 1;" + HINTED + ", %d; cp.async.wait_all;",
        "a cache policy that no createpolicy has made",
    ),
    "a division by zero": ("div.u32 %v, %v, %n;", "division by zero"),
    "a trap": ("trap;", "a trap"),
    "local memory unwritten": (
        ".local .align 8 .b8 depot[16]; ld.local.b32 %v, [depot+8];",
        "local memory: read of offset 8, which was not written",
    ),
    "beyond local memory": (
        ".local .align 8 .b8 depot[16]; st.local.b32 [depot+16], %v;",
        "local memory: 4 bytes at 16 of 16",
    ),
}


@pytest.mark.parametrize("order", ORDERS[1:3])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_programs(name: str, order: str) -> None:
    """Whatever the order of threads; the finding names statement, line, block and thread."""
    body, expected = WRONG[name]
    with pytest.raises(Finding, match=expected) as caught:
        run(body, order)
    assert "block 0, thread " in str(caught.value)
    assert "PTX line " in str(caught.value)


WRONG_CLUSTERS = {
    "no barrier": (STORE + ABROAD + CLUSTER, "which may not have begun"),
    "a barrier of the block": (
        CLUSTER + STORE + "bar.sync 0;\n" + ABROAD + CLUSTER,
        "race in shared|was not written",
    ),
    "no wait before the end": (STORE + CLUSTER + ABROAD, "of block ., which may have ended"),
    "no release": (
        CLUSTER
        + STORE
        + "barrier.cluster.arrive.relaxed; barrier.cluster.wait;\n"
        + ABROAD
        + CLUSTER,
        "race in shared",
    ),
    "one block does not arrive": (
        "setp.eq.u32 %p, %rank, 0; setp.eq.u32 %q, %t, 3; and.pred %p, %p, %q;"
        " @%p bar.sync 1, 32;\n" + CLUSTER,
        "barrier",
    ),
    "two arrivals": ("barrier.cluster.arrive; barrier.cluster.arrive;", "a second arrival"),
    "no arrival": ("barrier.cluster.wait;", "without an arrival"),
    "a block that does not exist": (
        CLUSTER + "mapa.shared::cluster.u32 %w, %at, 2;",
        "block 2 of a cluster of 2",
    ),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", WRONG_CLUSTERS)
def test_wrong_clusters(name: str, order: str) -> None:
    body, expected = WRONG_CLUSTERS[name]
    with pytest.raises(Finding, match=expected):
        run(body, order, cluster=2)


def test_a_word_that_is_promised_and_not_written() -> None:
    with pytest.raises(Finding, match="2 of 128 half words that are copied were never written"):
        run("setp.eq.u32 %p, %t, 9; @%p ret;")
    half = "cvt.u16.u32 %h, %v; setp.eq.u32 %p, %t, 9; @%p st.global.b16 [%out+2], %h; @%p ret;"
    with pytest.raises(Finding, match="1 of 128 half words that are copied were never written"):
        run(half)


def test_output_that_is_too_short() -> None:
    with pytest.raises(Finding, match=r"thread 63.*st\.global\.b32"):
        run("", room=4 * THREADS - 4)


def test_findings_leave_nothing_behind() -> None:
    """The same process goes on, with the same kernel."""
    body = "setp.eq.u32 %p, %n, 1; @!%p st.shared.b32 [%at], %v; bar.sync 0;\n" + LOAD
    for n in (0, 1, 0, 1, 0):
        if n:
            with pytest.raises(Finding, match="not written"):
                run(body, n=n)
        else:
            assert run(body, n=n) == passed_on()


def test_an_endless_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_DRIVER_JUMPS", "1000")
    with pytest.raises(Finding, match=r"1000 jumps: .*`bra \$AGAIN`"):
        run("$AGAIN: bra $AGAIN;")


def test_a_copy_that_a_finding_interrupted() -> None:
    """Nothing of it is left for the next launch."""
    body = COPY + "setp.eq.u32 %p, %n, 1; @%p trap; cp.async.wait_all; ld.shared.b32 %v, [%at];"
    for _ in range(2):
        with pytest.raises(Finding, match="a trap"):
            run(body, n=1)
        assert run(body) == [100 + t for t in range(THREADS)]


def test_launches_of_different_sizes_leave_nothing_behind() -> None:
    """As few clips and many do in turn. Each size's threads have megabytes of stack."""
    kernel = Kernel(ptx(""))
    sizes = []
    for _ in range(8):
        for cluster in (8, 1, 4):
            words = np.zeros(cluster * THREADS, np.uint32)
            launch = Launch(THREADS, cluster, 256, cluster)
            kernel.run((words, words), words, (ctypes.c_uint32(0),), launch, words.nbytes)
        sizes.append(_address_space())
    assert sizes[-1] - sizes[0] <= 1 << 20


def test_no_memory_for_the_threads() -> None:
    """Where the address space ends, a launch fails, and the next one that fits is executed."""
    before, most = resource.getrlimit(resource.RLIMIT_AS)
    kernel = Kernel(ptx(""))

    def launch(threads: int) -> None:
        words = np.zeros(8 * threads, np.uint32)
        values = (ctypes.c_uint32(0),)
        kernel.run((words, words), words, values, Launch(threads, 8, 256, 8), words.nbytes)

    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + (128 << 20), most))
    try:
        with pytest.raises(Finding, match="no memory for 8192 threads"):
            launch(1024)
        launch(THREADS)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, most))


def _address_space() -> int:
    """Return this process's address space, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def test_launches_that_do_not_fit() -> None:
    kernel = Kernel(ptx("").replace("\n{\n", "\n.maxntid 32\n{\n", 1))
    words = np.zeros(THREADS, np.uint32)
    with pytest.raises(Finding, match="the kernel has at most 32 threads"):
        kernel.run((words, words), words, (ctypes.c_uint32(0),), Launch(64, shared=256), 256)


UNKNOWN = {
    "an instruction": ("sin.approx.f32 %v, %v;", "unknown instruction sin.approx.f32"),
    "a modifier": ("add.sat.s32 %v, %v, 1;", "unknown instruction add.sat.s32"),
    "a rounding": ("add.rz.f32 %v, %v, %v;", "unknown instruction add.rz.f32"),
    "an order of memory": (
        "ld.acquire.gpu.global.b32 %v, [%a];",
        "unknown instruction ld.acquire.gpu.global.b32",
    ),
    "a volatile access": (
        "st.volatile.shared.b32 [%at], %v;",
        "unknown instruction st.volatile.shared.b32",
    ),
    "an atomic": ("atom.global.add.u32 %v, [%a], 1;", "unknown instruction atom.global.add.u32"),
    "a shuffle": ("shfl.sync.idx.b32 %v, %v, 0, 31, -1;", "unknown instruction shfl.sync.idx.b32"),
    "a reduction": ("bar.red.popc.u32 %v, 0, %p;", "unknown instruction bar.red.popc.u32"),
    "a bulk copy": ("cp.async.bulk.wait_group 0;", "unknown instruction cp.async.bulk.wait_group"),
    "a cache policy for a part": (POLICY.replace("1.0", "0.5"), "expected a policy for all"),
    "a copy without its cache policy": (HINTED + ";", "expected a cache policy"),
    "a cache policy without a hint": (COPY.replace(";", ", 0, %d;"), "unknown operands"),
    "a wide move": ("mov.b128 %d, %e;", "unknown instruction mov.b128"),
    "a generic address": ("cvta.shared.u64 %d, %e;", "unknown instruction cvta.shared.u64"),
    "a space": ("ld.b32 %v, [%a];", "unknown instruction ld.b32"),
    "a directive": (".callprototype;", "unknown directive .callprototype;"),
    "a register": ("mov.b32 %v, %unknown;", "unknown operand %unknown"),
    "a special register": ("mov.u32 %v, %clock;", "unknown operand %clock"),
    "a width": ("add.s64 %v, %v, 1;", "%v has 32 bits, s64 has 64"),
    "operands": ("add.s32 %v, %v;", "expected 3 operands"),
    "a label": ("bra $NOWHERE;", "there is no label"),
    "a pragma": ('.pragma "other";', "unknown directive .pragma"),
    "a constant": ("add.f32 %v, %v, 1;", "1 is no float"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_text(name: str) -> None:
    """It is named, with its line: nothing is guessed."""
    body, expected = UNKNOWN[name]
    with pytest.raises(PTXError, match=expected) as caught:
        translated(read(ptx(body)))
    assert f"line {len(HEAD.splitlines()) + 1}: " in str(caught.value)


def test_unknown_modules() -> None:
    for text, expected in (
        (".version 8.5\n.address_size 32\n", "line 2: .address_size 32"),
        (".version 8.5\n.func f() { }", "line 2: unknown directive .func"),
        (".version 8.5\n", "has no kernel"),
        (ptx("") + ptx(""), "a second kernel"),
        (ptx("").replace("\n{\n", "\n.unknown 3\n{\n", 1), "unknown directive .unknown"),
    ):
        with pytest.raises(PTXError, match=expected):
            read(text)


def test_places_in_the_source() -> None:
    """A statement tells its lines of Mojo, innermost first."""
    body = """.loc 1 20 5
mov.u32 %w, 1;
.loc 1 7 3, function_name $L__info_string0, inlined_at 1 20 5
mov.u32 %x, 1;
.loc 1 0 3
mov.u32 %y, 1;
"""
    module = read(ptx(body))
    module.files[1] = "/somewhere/kernel.mojo"
    texts = [describe(module, it) for it in module.body if isinstance(it, Statement)][-5:-2]
    assert [text.partition("; ")[2] for text in texts] == [
        "kernel.mojo:20:5)",
        "kernel.mojo:7:3 in kernel.mojo:20:5)",
        "",
    ]


@pytest.mark.parametrize(
    ("which", "wavefronts"),
    [
        ("mov.u32 %w, %t;", 4),
        ("mov.u32 %w, 3;", 2),
        ("shr.u32 %w, %t, 1;", 2),  # as the neighbour
        ("shr.u32 %w, %t, 1; and.b32 %x, %t, 1; and.b32 %w, %w, 6; or.b32 %w, %w, %x;", 2),
        ("add.u32 %w, %t, 1; shr.u32 %w, %w, 1;", 4),  # as the one before, or the one behind
        ("shl.b32 %w, %t, 3;", 4),  # two of these in a bank
    ],
)
def test_wavefronts_of_a_vector(which: str, wavefronts: int) -> None:
    """A quarter of a warp each; half, where lanes in pairs want the same sixteen bytes."""
    body = STORE + f"bar.sync 0; {which} and.b32 %w, %w, 15; shl.b32 %w, %w, 4;"
    text = ptx(body + "ld.shared.v4.b32 {%v, %w, %x, %y}, [%w];")
    words = np.zeros(THREADS, np.uint32)
    launch = Launch(THREADS, 1, 256, 1)
    Kernel(text, "-DCOUNT").run((words, words), words, (ctypes.c_uint32(0),), launch, words.nbytes)
    found = counted(text, "ld.shared.v4.b32")
    assert (found["shared_requests"], found["shared_wavefronts"]) == (2, 2 * wavefronts)
