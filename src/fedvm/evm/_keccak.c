/* keccak-256 of many messages of one length at once: sponges side by side in vector registers (_keccak_lanes.h). Eight of
 * them where a register holds eight words; four elsewhere, since of eight the compiler would keep the most in memory. The
 * compiler makes do with smaller registers, too.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the sponge's words are read as the machine's own, which must be little-endian"
#endif

#define RATE 136 /* bytes a block: 1600 − 2·256 bits */
#define WORDS (RATE / 8)
#define DIGEST 32

static const uint64_t ROUND_CONSTANTS[24] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000, 0x000000000000808b,
    0x0000000080000001, 0x8000000080008081, 0x8000000000008009, 0x000000000000008a, 0x0000000000000088,
    0x0000000080008009, 0x000000008000000a, 0x000000008000808b, 0x800000000000008b, 0x8000000000008089,
    0x8000000000008003, 0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
};

#define TURNED(word, bits) (((word) << (bits)) | ((word) >> (64 - (bits))))

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__)
#define ONE_OF_SEVERAL_PROCESSORS
#define FOR_PROCESSOR __attribute__((target_clones("avx2", "default")))
#else
#define FOR_PROCESSOR
#endif
#define LANES 4
#define NAMED(name) name##_by_4
#include "_keccak_lanes.h"

#ifdef ONE_OF_SEVERAL_PROCESSORS
#undef FOR_PROCESSOR
#undef LANES
#undef NAMED
#define FOR_PROCESSOR __attribute__((target("avx512f")))
#define LANES 8
#define NAMED(name) name##_by_8
#include "_keccak_lanes.h"
#endif

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
            size_t lanes = 4;
            void (*hash_group)(const uint8_t *, size_t, size_t, uint8_t *) = hash_group_by_4;
#ifdef ONE_OF_SEVERAL_PROCESSORS
            if (__builtin_cpu_supports("avx512f")) {
                lanes = 8;
                hash_group = hash_group_by_8;
            }
#endif
            for (size_t first = 0; first < count; first += lanes) {
                size_t group = count - first < lanes ? count - first : lanes;
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
