/* What the files of doctor share. */
#ifndef PX_CTL_DOCTOR_H
#define PX_CTL_DOCTOR_H

#include "ctl.h"

typedef struct {
    ctl *c;
    int failed;
} doctor;

/* One line each. `hint` tells what to do. */
void doctor_ok(doctor *d, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void doctor_note(doctor *d, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void doctor_fault(doctor *d, const char *what, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* doctor_files.c: tried as the service's account when root asks. */
void doctor_state_folder(doctor *d);
void doctor_storage(doctor *d);
void doctor_helper(doctor *d);

#endif
