/* Switches of tests/token/faulty_module.c, which stands before SoftHSM in the worker that is started next. */
#ifndef INKAN_TESTS_FAULTS_H
#define INKAN_TESTS_FAULTS_H

#include "tests/token/worker.h"

/* All faults off, no logins counted; sets the module and its environment in *start. After softhsm_fresh(). */
void faults_prepare(struct test_start *start);

void fault_on(const char *name, const char *value);
void fault_off(const char *name);
uint64_t fault_calls(const char *function); /* of that Cryptoki function, since faults_prepare, by all processes */
unsigned fault_logins(void); /* calls of C_Login since faults_prepare, by all processes */

#endif
