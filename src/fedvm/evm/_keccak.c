/* keccak-256 of many messages of one length at once: LANES sponges side by side in vector registers.
 *
 * The permutation is Keccak-f[1600] of FIPS 202, section 3; keccak-256 pads with 0x01 … 0x80 (the submission of
 * 2011, as Ethereum uses it) where SHA3-256 pads with 0x06 … 0x80. The layout follows what the Keccak team calls
 * parallel instances (keccak.team, "KeccakP-1600-times8"). Vectors are GCC's and Clang's extension: a machine without
 * such registers gets the same from ordinary ones.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the sponge's words are read as the machine's own, which must be little-endian"
#endif

#define LANES 8
#define RATE 136 /* bytes a block: 1600 − 2·256 bits */
#define WORDS (RATE / 8)
#define DIGEST 32

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

typedef uint64_t lanes __attribute__((vector_size(8 * LANES)));

static const uint64_t ROUND_CONSTANTS[24] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000, 0x000000000000808b,
    0x0000000080000001, 0x8000000080008081, 0x8000000000008009, 0x000000000000008a, 0x0000000000000088,
    0x0000000080008009, 0x000000008000000a, 0x000000008000808b, 0x800000000000008b, 0x8000000000008089,
    0x8000000000008003, 0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
};

#define TURNED(word, bits) (((word) << (bits)) | ((word) >> (64 - (bits))))

static inline __attribute__((always_inline)) void permute(lanes a[25]) {
    /* ρ and π as one cycle through all words but the first: each goes to the next place, turned left. */
    static const int place[24] = {10, 7,  11, 17, 18, 3, 5,  16, 8,  21, 24, 4,
                                  15, 23, 19, 13, 12, 2, 20, 14, 22, 9,  6,  1};
    static const int turn[24] = {1,  3,  6,  10, 15, 21, 28, 36, 45, 55, 2,  14,
                                 27, 41, 56, 8,  25, 43, 62, 18, 39, 61, 20, 44};
    for (int round = 0; round < 24; round++) {
        lanes c[5], d, moved;
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
            lanes next = a[place[i]];
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

static inline __attribute__((always_inline)) void absorb(lanes a[25], const uint8_t *const blocks[LANES]) {
    for (int word = 0; word < WORDS; word++) {
        uint64_t values[LANES];
        lanes taken;
        for (int lane = 0; lane < LANES; lane++) memcpy(&values[lane], blocks[lane] + 8 * word, 8);
        memcpy(&taken, values, sizeof taken);
        a[word] ^= taken;
    }
    permute(a);
}

/* The digests, one after another, of count ≤ LANES messages of `length` bytes, one after another. */
FOR_EACH_PROCESSOR
static void hash_group(const uint8_t *messages, size_t length, size_t count, uint8_t *digests) {
    lanes a[25];
    uint8_t last[LANES][RATE];
    const uint8_t *blocks[LANES];
    size_t whole = length / RATE * RATE;
    memset(a, 0, sizeof a);
    for (int lane = 0; lane < LANES; lane++) /* lanes without a message repeat the last one */
        blocks[lane] = messages + length * ((size_t)lane < count ? (size_t)lane : count - 1);
    for (size_t at = 0; at < whole; at += RATE) {
        absorb(a, blocks);
        for (int lane = 0; lane < LANES; lane++) blocks[lane] += RATE;
    }
    for (int lane = 0; lane < LANES; lane++) {
        memset(last[lane], 0, RATE);
        memcpy(last[lane], blocks[lane], length - whole);
        last[lane][length - whole] = 0x01;
        last[lane][RATE - 1] |= 0x80;
        blocks[lane] = last[lane];
    }
    absorb(a, blocks);
    for (size_t lane = 0; lane < count; lane++)
        for (int word = 0; word < DIGEST / 8; word++) {
            uint64_t value = a[word][lane];
            memcpy(digests + DIGEST * lane + 8 * word, &value, 8);
        }
}

static PyObject *rows(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer data;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(args, "y*n", &data, &length)) return NULL;
    PyObject *result = NULL;
    if (length <= 0 || data.len % length) {
        PyErr_Format(PyExc_ValueError, "%zd bytes are not rows of %zd", data.len, length);
    } else {
        size_t count = (size_t)(data.len / length);
        result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(DIGEST * count));
        if (result) {
            const uint8_t *messages = data.buf;
            uint8_t *digests = (uint8_t *)PyBytes_AsString(result);
            Py_BEGIN_ALLOW_THREADS
            for (size_t first = 0; first < count; first += LANES) {
                size_t group = count - first < LANES ? count - first : LANES;
                hash_group(messages + first * (size_t)length, (size_t)length, group, digests + first * DIGEST);
            }
            Py_END_ALLOW_THREADS
        }
    }
    PyBuffer_Release(&data);
    return result;
}

static PyMethodDef methods[] = {
    {"rows", rows, METH_VARARGS, "rows(data, length): the keccak-256 of each `length` bytes of data, joined."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_keccak", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__keccak(void) { return PyModule_Create(&module); }
