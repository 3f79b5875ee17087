/* TRY: return a negative result to the caller at once. */
#pragma once

#define TRY(call)                                                                                  \
    do {                                                                                           \
        int _err = (call);                                                                         \
        if (_err < 0)                                                                              \
            return _err;                                                                           \
    } while (0)
