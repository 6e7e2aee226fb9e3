"""The GPU's program on a CPU: of every phase, one thread after the other.

The phases are those of `mel_kernel.mojo`, run by the same `Block.run`: here are only the threads,
and a memory that looks like a block's. It begins as NaN. Every access is noted, and these are
found:

* races: two threads use a word in the same phase (those of different blocks: without a barrier of
  the cluster in between), and at least one of them writes it;
* reads of another block's memory after which the blocks do not wait for each other: that block
  may have ended by then;
* reads of words that nothing has written;
* accesses outside the block's memory;
* values of the output that nothing has written.

Every block's memory is allocated for itself, in its exact size, so that AddressSanitizer finds
what is outside of it: in a build with `-D UNWATCHED`, in which nothing is noted.
"""

from std.ffi import external_call
from std.memory import bitcast
from std.sys import is_defined
from std.sys.info import size_of

from mel_kernel import (
    FEW,
    HOP,
    MANY,
    NAN,
    OK,
    SILENCE,
    SMOOTHED,
    VALID,
    Batch,
    Block,
    Floats,
    Mapping,
    Memory,
    SharedMemory,
    Step,
    Team,
    Vec,
    argument_error,
    explain,
    is_finite,
    kind_of,
    load_samples,
    mel_bins,
)

comptime WATCHED = not is_defined["UNWATCHED"]()
comptime NOT_WRITTEN = UInt32(0x7FB5A5A5)
"""The bits of a NaN that nothing computes: what the output is full of before."""
comptime NOBODY = -1
comptime SEVERAL = -2


@fieldwise_init
struct Word(ImplicitlyCopyable, TrivialRegisterPassable):
    """Who used a word of shared memory last, and when."""

    var writer: Int
    var written: Int
    """The number of the phase."""
    var reader: Int
    """Or SEVERAL, in the same phase."""
    var read: Int
    var abroad: Int
    """When another block used it last."""


struct Session:
    """What the caller wants to be run, and gets to know: 64 bits each."""

    var clusters: Int
    """As on devices whose blocks can read each other's shared memory; 0: as on others."""
    var order: Int
    """Of the threads: 0 forwards, 1 backwards, else shuffled, with this seed."""
    var lengths: Int
    """Address of the clips' lengths, as int64; 0: all are equally long."""
    var phases: Int
    """That have been run, of any launch."""
    var races: Int
    var unwritten: Int
    var outside: Int
    """Accesses of each kind of fault."""
    var omitted: Int
    """Values of the output that were not written."""
    var phase: Int
    """Of the first fault of all: `PREPARE`, ..."""
    var word: Int
    var thread: Int
    var other: Int
    """Who had used the word before, with a race."""


comptime SessionPointer = Pointer[Session, MutUntrackedOrigin]
comptime Words = Pointer[Word, MutUntrackedOrigin]


@fieldwise_init
struct Emulated(SharedMemory):
    """A block's shared memory as one thread sees it."""

    var blocks: Memory[DType.int64]
    """Addresses of the memory of all blocks of the cluster; followed by those of their words."""
    var cluster: Int
    var size: Int
    """Floats."""
    var session: SessionPointer
    var phase: Int
    var since_cluster: Int
    """The number of the first phase after all blocks waited for each other."""
    var rank: Int
    var thread: Int
    """Of the block."""
    var first: Int
    """Float from which positions are counted."""

    @always_inline
    def memory(self, rank: Int) -> Floats:
        return Floats(unsafe_from_address=Int(self.blocks[unsafe_offset=rank]))

    def identity(self) -> Int:
        """The thread's number in the cluster."""
        return self.rank << 16 | self.thread

    @no_inline
    def note(self, rank: Int, at: Int, writes: Bool) -> Bool:
        """Checks an access, and keeps it in mind. False if there is no such word."""
        if not 0 <= at < self.size:
            self.found(at, NOBODY)
            self.session[].outside += 1
            return False
        var address = self.blocks[unsafe_offset=self.cluster + rank]
        var words = Words(unsafe_from_address=Int(address))
        var word = words[unsafe_offset=at]
        var now = self.session[].phases
        if not writes and word.writer == NOBODY:
            self.found(at, NOBODY)
            self.session[].unwritten += 1
        if self.collides(word.writer, word.written):
            self.found(at, word.writer)
            self.session[].races += 1
        elif writes and self.collides(word.reader, word.read):
            self.found(at, word.reader)
            self.session[].races += 1
        if writes:
            word.writer = self.identity()
            word.written = now
        elif word.read != now or word.reader == NOBODY:
            word.reader = self.identity()
            word.read = now
        elif word.reader != self.identity():
            word.reader = SEVERAL
        if rank != self.rank:
            word.abroad = now
        words[unsafe_offset=at] = word
        return True

    def collides(self, other: Int, phase: Int) -> Bool:
        """If another thread did something at a time that this access is not after."""
        if other == NOBODY or other == self.identity():
            return False
        if other != SEVERAL and other >> 16 != self.rank:
            return phase >= self.since_cluster
        return phase == self.session[].phases

    def found(self, at: Int, other: Int):
        """A fault."""
        var session = self.session
        if session[].races + session[].unwritten + session[].outside == 0:
            session[].phase = self.phase
            session[].word = at
            session[].thread = self.identity()
            session[].other = other

    @always_inline
    def load[W: Int](self, at: Int) -> Vec[W]:
        comptime if WATCHED:
            for i in range(W):
                if not self.note(self.rank, self.first + at + i, False):
                    return NAN
        return self.memory(self.rank).unsafe_load[width=W](self.first + at)

    @always_inline
    def store[W: Int](self, at: Int, value: Vec[W]):
        comptime if WATCHED:
            for i in range(W):
                if not self.note(self.rank, self.first + at + i, True):
                    return
        self.memory(self.rank).unsafe_store(self.first + at, value)

    @always_inline
    def short(self, at: Int) -> Int:
        comptime if WATCHED:
            if not self.note(self.rank, self.first + at // 2, False):
                return 0
        var from_ = self.memory(self.rank).unsafe_offset(self.first)
        return Int(from_.unsafe_bitcast[UInt16]()[unsafe_offset=at])

    @always_inline
    def copy[T: DType](self, at: Int, source: Memory[T]):
        self.store[1](at, load_samples[T, 1](source, 0))

    @always_inline
    def wait_for_copies(self):
        """Does nothing: a copy is done at once."""
        pass

    @always_inline
    def offset(self, floats: Int) -> Self:
        var other = self
        other.first += floats
        return other

    @always_inline
    def of_block(self, rank: Int, at: Int) -> Float32:
        comptime if WATCHED:
            if not self.note(rank, self.first + at, False):
                return NAN
        return self.memory(rank)[unsafe_offset=self.first + at]


struct LockstepTeam[THREADS: Int, SIZE: Int](Team):
    """All threads of the blocks of a cluster, who take turns."""

    var session: SessionPointer
    var cluster: Int
    """Blocks."""
    var blocks: Memory[DType.int64]
    var maxima: Floats
    """What each thread keeps from phase to phase."""
    var since_cluster: Int

    def __init__(out self, session: SessionPointer, cluster: Int):
        self.session = session
        self.cluster = cluster
        self.since_cluster = 0
        self.blocks = Memory[DType.int64](unsafe_from_address=allocate(16 * self.cluster))
        self.maxima = Floats(unsafe_from_address=allocate(4 * self.cluster * Self.THREADS))
        for rank in range(self.cluster):
            self.blocks[unsafe_offset=rank] = Int64(allocate(4 * Self.SIZE))
            var shadow = allocate(Self.SIZE * size_of[Word]()) if WATCHED else 0
            self.blocks[unsafe_offset=self.cluster + rank] = Int64(shadow)

    def __deinit__(deinit self):
        for i in range(2 * self.cluster):
            external_call["free", NoneType](Int(self.blocks[unsafe_offset=i]))
        external_call["free", NoneType](Int(self.blocks))
        external_call["free", NoneType](Int(self.maxima))

    def start_clip(mut self):
        """A new cluster of blocks: nothing is known of what is in its memory."""
        self.since_cluster = self.session[].phases
        for i in range(self.cluster * Self.THREADS):
            self.maxima[unsafe_offset=i] = SILENCE
        for rank in range(self.cluster):
            var memory = Floats(unsafe_from_address=Int(self.blocks[unsafe_offset=rank]))
            for i in range(Self.SIZE):
                memory[unsafe_offset=i] = NAN
            comptime if WATCHED:
                var shadow = self.blocks[unsafe_offset=self.cluster + rank]
                var words = Words(unsafe_from_address=Int(shadow))
                for i in range(Self.SIZE):
                    words[unsafe_offset=i] = Word(NOBODY, 0, NOBODY, 0, NOBODY)

    def end_clip(self):
        """The blocks end: their memory is gone for those who have not waited for each other."""
        comptime if WATCHED:
            for rank in range(self.cluster):
                var shadow = self.blocks[unsafe_offset=self.cluster + rank]
                var words = Words(unsafe_from_address=Int(shadow))
                for i in range(Self.SIZE):
                    if words[unsafe_offset=i].abroad >= self.since_cluster:
                        self.session[].races += 1

    def in_turn(self, i: Int) -> Int:
        """Which thread of the cluster is the i-th."""
        var count = self.cluster * Self.THREADS
        var order = self.session[].order
        if order == 0:
            return i
        if order == 1:
            return count - 1 - i
        var seed = order * 2654435761 + self.session[].phases * 40503
        # An odd stride reaches every thread, since the count is a power of two.
        return (i * (seed * 2 + 1) + seed // 7) & (count - 1)

    def phase[
        n_mels: Int,
        group: Int,
        tile: Int,
        //,
        phase: Int,
        whole_cluster: Bool = False,
    ](mut self, block: Block[n_mels, group, tile], step: Step):
        for i in range(self.cluster * Self.THREADS):
            var turn = self.in_turn(i)
            var rank = turn // Self.THREADS
            var thread = turn % Self.THREADS
            var memory = Emulated(
                self.blocks,
                self.cluster,
                Self.SIZE,
                self.session,
                phase,
                self.since_cluster,
                rank,
                thread,
                0,
            )
            block.phase[phase](step, rank, thread, memory, self.maxima[unsafe_offset=turn])
        self.session[].phases += 1
        comptime if whole_cluster:
            self.since_cluster = self.session[].phases


def allocate(size: Int) -> Int:
    var address = external_call["malloc", Int](size)
    if address == 0:
        external_call["abort", NoneType]()
    return address


def run_grid[
    n_mels: Int, clusters: Bool, kind: Int
](batch: Batch, clips: Int, session: SessionPointer):
    """Does what a launch does: a cluster of blocks for each clip."""
    comptime M = Mapping[n_mels, clusters, kind]
    comptime B = Block[n_mels, M.GROUP, M.TILE]
    var blocks = M.blocks(clips)
    var team = LockstepTeam[B.THREADS, B.SIZE](session, blocks)
    for clip in range(clips):
        team.start_clip()
        B(batch.clip[n_mels](clip), blocks).run(team)
        team.end_clip()


def run_bands[n_mels: Int](batch: Batch, clips: Int, session: SessionPointer):
    """Runs the kernel that such a launch takes."""
    var kind = kind_of(session[].clusters != 0, clips, batch.smoothing)
    if session[].clusters == 0:
        if kind == SMOOTHED:
            run_grid[n_mels, False, SMOOTHED](batch, clips, session)
        else:
            run_grid[n_mels, False, MANY](batch, clips, session)
    elif kind == SMOOTHED:
        run_grid[n_mels, True, SMOOTHED](batch, clips, session)
    elif kind == FEW:
        run_grid[n_mels, True, FEW](batch, clips, session)
    else:
        run_grid[n_mels, True, MANY](batch, clips, session)


@export
def whisper_mel_lockstep_weight(n_mels: Int) abi("C") -> UInt32:
    """Returns the bits of the last band's last weight: every kernel's code has its own."""
    comptime of_80 = mel_bins[80]()[199].falling
    comptime of_128 = mel_bins[128]()[199].falling
    return bitcast[DType.uint32, 1](of_80 if n_mels == 80 else of_128)


@export
def whisper_mel_lockstep(
    audio: Int,
    is_int16: Int,
    clips: Int,
    samples: Int,
    clip_stride: Int,
    pad_to: Int,
    n_mels: Int,
    smoothing: Int,
    out_: Int,
    out_len: Int,
    threads: Int,
    session: Int,
    bad_sample: Int,
) abi("C") -> Int:
    """As `whisper_mel_log_mel`, with the address of a `Session` in the place of a pool.

    `threads` is the number of CPU threads there, and without meaning here.
    """
    var status = argument_error(
        audio, clips, samples, pad_to, n_mels, smoothing, out_, out_len, threads
    )
    if status != OK:
        return status
    var trim = 2 if smoothing == VALID else 0
    var wanted = SessionPointer(unsafe_from_address=session)
    var ragged = wanted[].lengths != 0
    var batch = Batch(
        Floats(unsafe_from_address=audio),
        is_int16 != 0,
        Memory[DType.int64](unsafe_from_address=wanted[].lengths if ragged else out_),
        ragged,
        samples,
        clip_stride,
        pad_to,
        smoothing,
        Floats(unsafe_from_address=out_),
    )
    var size = (n_mels - trim) * (max(samples, pad_to) // HOP - trim)
    var bits = batch.out_.unsafe_bitcast[UInt32]()
    for i in range(clips * size):
        bits[unsafe_offset=i] = NOT_WRITTEN
    if n_mels == 80:
        run_bands[80](batch, clips, wanted)
    else:
        run_bands[128](batch, clips, wanted)

    for i in range(clips * size):
        wanted[].omitted += Int(bits[unsafe_offset=i] == NOT_WRITTEN)
    # The device leaves NaN, and the host finds out why; of a ragged batch it does not ask.
    for clip in range(0 if ragged else clips):
        if not is_finite(batch.out_[unsafe_offset=clip * size]):
            return explain(audio, is_int16 != 0, clips, samples, clip_stride, bad_sample)
    return OK
