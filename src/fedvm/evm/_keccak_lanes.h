/* keccak-256 of LANES messages of one length at once; included once for each number of lanes, with NAMED to tell their
 * names apart and FOR_PROCESSOR to say what they are compiled for.
 *
 * The permutation is Keccak-f[1600] of FIPS 202, section 3; keccak-256 pads with 0x01 … 0x80 (the submission of
 * 2011, as Ethereum uses it) where SHA3-256 pads with 0x06 … 0x80. The layout follows what the Keccak team calls
 * parallel instances (keccak.team, "KeccakP-1600-times8"). Vectors are GCC's and Clang's extension: a machine without
 * such registers gets the same from ordinary ones.
 */
typedef uint64_t NAMED(lanes) __attribute__((vector_size(8 * LANES)));

static inline __attribute__((always_inline)) void NAMED(permute)(NAMED(lanes) a[25]) {
    /* ρ and π as one cycle through all words but the first: each goes to the next place, turned left. */
    static const int place[24] = {10, 7,  11, 17, 18, 3, 5,  16, 8,  21, 24, 4,
                                  15, 23, 19, 13, 12, 2, 20, 14, 22, 9,  6,  1};
    static const int turn[24] = {1,  3,  6,  10, 15, 21, 28, 36, 45, 55, 2,  14,
                                 27, 41, 56, 8,  25, 43, 62, 18, 39, 61, 20, 44};
    for (int round = 0; round < 24; round++) {
        NAMED(lanes) c[5], d, moved;
#pragma GCC unroll 5
        for (int x = 0; x < 5; x++) c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
#pragma GCC unroll 5
        for (int x = 0; x < 5; x++) {
            d = c[(x + 4) % 5] ^ TURNED(c[(x + 1) % 5], 1);
#pragma GCC unroll 5
            for (int y = 0; y < 25; y += 5) a[x + y] ^= d;
        }
        moved = a[1];
#pragma GCC unroll 24
        for (int i = 0; i < 24; i++) {
            NAMED(lanes) next = a[place[i]];
            a[place[i]] = TURNED(moved, turn[i]);
            moved = next;
        }
#pragma GCC unroll 5
        for (int y = 0; y < 25; y += 5) {
#pragma GCC unroll 5
            for (int x = 0; x < 5; x++) c[x] = a[x + y];
#pragma GCC unroll 5
            for (int x = 0; x < 5; x++) a[x + y] = c[x] ^ (~c[(x + 1) % 5] & c[(x + 2) % 5]);
        }
        a[0] ^= ROUND_CONSTANTS[round];
    }
}

static inline __attribute__((always_inline)) void NAMED(absorb)(NAMED(lanes) a[25], const uint8_t *const blocks[LANES]) {
    for (int word = 0; word < WORDS; word++) {
        uint64_t values[LANES];
        NAMED(lanes) taken;
        for (int lane = 0; lane < LANES; lane++) memcpy(&values[lane], blocks[lane] + 8 * word, 8);
        memcpy(&taken, values, sizeof taken);
        a[word] ^= taken;
    }
    NAMED(permute)(a);
}

/* The digests, one after another, of count ≤ LANES messages of `length` bytes, one after another. */
FOR_PROCESSOR
static void NAMED(hash_group)(const uint8_t *messages, size_t length, size_t count, uint8_t *digests) {
    NAMED(lanes) a[25];
    uint8_t last[LANES][RATE];
    const uint8_t *blocks[LANES];
    size_t whole = length / RATE * RATE;
    memset(a, 0, sizeof a);
    for (int lane = 0; lane < LANES; lane++) /* lanes without a message repeat the last one */
        blocks[lane] = messages + length * ((size_t)lane < count ? (size_t)lane : count - 1);
    for (size_t at = 0; at < whole; at += RATE) {
        NAMED(absorb)(a, blocks);
        for (int lane = 0; lane < LANES; lane++) blocks[lane] += RATE;
    }
    for (int lane = 0; lane < LANES; lane++) {
        memset(last[lane], 0, RATE);
        memcpy(last[lane], blocks[lane], length - whole);
        last[lane][length - whole] = 0x01;
        last[lane][RATE - 1] |= 0x80;
        blocks[lane] = last[lane];
    }
    NAMED(absorb)(a, blocks);
    for (size_t lane = 0; lane < count; lane++)
        for (int word = 0; word < DIGEST / 8; word++) {
            uint64_t value = a[word][lane];
            memcpy(digests + DIGEST * lane + 8 * word, &value, 8);
        }
}
