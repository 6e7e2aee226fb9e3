/* Counts of what warps execute, statement by statement (-DCOUNT).

   Lanes are taken to execute together whatever they both execute between two barriers: a warp's
   count of a statement is the largest of its lanes', and their n-th accesses are one request. */
enum { SITES = sizeof sites / sizeof *sites };

struct counts {
    uint64_t instructions;    /* of warps */
    uint64_t shared_requests; /* of warps */
    uint64_t shared_bytes;    /* of all lanes */
    uint64_t wavefronts, wavefronts_without_conflicts;
    uint64_t global_requests, global_bytes;
    uint64_t sectors; /* of 32 bytes */
};
struct counts counts[SITES];
const uint32_t site_count = SITES;

struct access {
    uint64_t at;
    uint32_t site, size;
};
struct lane {
    uint32_t executed[SITES];
    struct access *accesses;
    uint32_t count, room;
};
static struct lane *lanes; /* of all threads of the cluster */
static uint32_t lanes_made;

static void start_counting(void) {
    if (lanes_made < threads_in_all)
        lanes = calloc(lanes_made = threads_in_all, sizeof *lanes);
}
static void note_access(uint64_t at, uint32_t size, uint32_t site, bool is_shared) {
    struct lane *me = &lanes[current];
    if (me->count == me->room) {
        me->room = 2 * me->room + 256;
        me->accesses = realloc(me->accesses, me->room * sizeof *me->accesses);
    }
    me->accesses[me->count++] = (struct access){at << 1 | is_shared, site, size};
}
#define AT(site) lanes[current].executed[site]++;
#define COUNT_SHARED(at, size, site) note_access(at, size, site, true)
#define COUNT_GLOBAL(at, size, site) note_access(at, size, site, false)
#define COUNT_PHASE(block) count_phase(block)

struct request {
    uint32_t site, size, lanes;
    bool is_shared;
    uint64_t at[32];
};
static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}
static uint32_t distinct(uint64_t *them, uint32_t n) {
    uint32_t found = 0;
    qsort(them, n, sizeof *them, compare);
    for (uint32_t i = 0; i < n; i++)
        found += i == 0 || them[i] != them[i - 1];
    return found;
}
static bool is_alike(const struct request *it, uint32_t distance) {
    for (uint32_t i = 0; i < it->lanes; i++)
        if (it->lanes < 32 || it->at[i] != it->at[i ^ distance])
            return false;
    return true;
}
/* 32 banks of 4 bytes. Larger accesses go in halves and quarters of a warp; in half as many where
   each lane wants the same as its neighbour, or the next but one: what NVIDIA says of Volta
   (forums.developer.nvidia.com/t/77228), and a user's counters of CC 8.6 and 9.0 (…/t/373160). */
static uint32_t wavefronts(const struct request *it, uint32_t *least) {
    uint32_t words = (it->size + 3) / 4, together = 32 / words, sum = 0;
    if (words > 1 && (is_alike(it, 1) || is_alike(it, 2)))
        together *= 2;
    *least = 0;
    for (uint32_t first = 0; first < it->lanes; first += together) {
        uint64_t in_bank[32][32];
        uint32_t counts_of[32] = {0}, most = 0;
        for (uint32_t i = first; i < it->lanes && i < first + together; i++)
            for (uint32_t word = 0; word < words; word++) {
                uint64_t address = it->at[i] / 4 + word;
                in_bank[address % 32][counts_of[address % 32]++] = address;
            }
        for (int bank = 0; bank < 32; bank++) {
            uint32_t here = distinct(in_bank[bank], counts_of[bank]);
            most = here > most ? here : most;
        }
        sum += most;
        ++*least;
    }
    return sum;
}
static void count_request(struct request *it) {
    struct counts *total = &counts[it->site];
    if (it->is_shared) {
        uint32_t least;
        total->shared_requests++;
        total->shared_bytes += (uint64_t)it->size * it->lanes;
        total->wavefronts += wavefronts(it, &least);
        total->wavefronts_without_conflicts += least;
    } else {
        total->global_requests++;
        total->global_bytes += (uint64_t)it->size * it->lanes;
        for (uint32_t i = 0; i < it->lanes; i++)
            it->at[i] /= 32;
        total->sectors += distinct(it->at, it->lanes);
    }
}
static void count_warp(struct lane *warp) {
    static uint32_t firsts[SITES], seen[2][SITES];
    static struct request *requests;
    static uint32_t room;
    uint32_t used = 0;
    for (uint32_t site = 0; site < SITES; site++) {
        uint32_t most = 0;
        for (int lane = 0; lane < 32; lane++) {
            most = warp[lane].executed[site] > most ? warp[lane].executed[site] : most;
            warp[lane].executed[site] = 0;
        }
        counts[site].instructions += most;
        firsts[site] = used;
        used += 2 * most; /* a copy is a request to either memory */
    }
    if (used > room)
        requests = realloc(requests, (room = 2 * used) * sizeof *requests);
    for (uint32_t i = 0; i < used; i++)
        requests[i].lanes = 0;
    for (int lane = 0; lane < 32; lane++) {
        memset(seen, 0, sizeof seen);
        for (uint32_t i = 0; i < warp[lane].count; i++) {
            const struct access *it = &warp[lane].accesses[i];
            bool is_shared = it->at & 1;
            struct request *to =
                &requests[firsts[it->site] + 2 * seen[is_shared][it->site]++ + is_shared];
            to->site = it->site;
            to->size = it->size;
            to->is_shared = is_shared;
            to->at[to->lanes++] = it->at >> 1;
        }
        warp[lane].count = 0;
    }
    for (uint32_t i = 0; i < used; i++)
        if (requests[i].lanes)
            count_request(&requests[i]);
}
static void count_phase(uint32_t block) {
    for (uint32_t i = 0; i < block_threads; i += 32)
        count_warp(&lanes[block * block_threads + i]);
}
