/*
 * libFuzzer harness: embeds CPython and hands each input to `one_input` of the module that
 * FASTGW_FUZZ_TARGET names.
 *
 * The input is a memoryview over libFuzzer's own allocation, which ends where the input ends, so an
 * overread is seen. Any exception that the target lets out is a finding.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>

static PyObject *one_input;

static void fail(void)
{
    PyErr_Print();
    abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.install_signal_handlers = 0; /* they are libFuzzer's */
    const char *python = getenv("FASTGW_FUZZ_PYTHON"); /* finds the virtual environment */
    if (python != NULL)
        PyConfig_SetBytesString(&config, &config.program_name, python);
    PyStatus status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status))
        Py_ExitStatusException(status);
    const char *target = getenv("FASTGW_FUZZ_TARGET");
    PyObject *module = PyImport_ImportModule(target != NULL ? target : "decode_target");
    if (module == NULL)
        fail();
    one_input = PyObject_GetAttrString(module, "one_input");
    if (one_input == NULL)
        fail();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PyObject *view = PyMemoryView_FromMemory((char *)data, (Py_ssize_t)size, PyBUF_READ);
    if (view == NULL)
        fail();
    PyObject *result = PyObject_CallOneArg(one_input, view);
    if (result == NULL)
        fail();
    Py_DECREF(result);
    Py_DECREF(view);
    return 0;
}
