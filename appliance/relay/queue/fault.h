/*
 * Fault points for the crash tests: places where a test may kill the process or make a step fail. Only a build with
 * -DINKAN_FAULT_POINTS has any; elsewhere fault_point() is the constant 0 and leaves no trace in the program.
 *
 * INKAN_FAULT="NAME=kill", "NAME=kill:7" (the seventh time it is passed) or "NAME=errno:28" (each time);
 * "NAME=errno:5:3" (the third time only). Several are separated by commas. Without that variable the first line of a file
 * `fault` beside the program is read, at its start.
 */
#ifndef INKAN_QUEUE_FAULT_H
#define INKAN_QUEUE_FAULT_H

#ifdef INKAN_FAULT_POINTS
int fault_point(const char *name); /* 0, or the errno to fail with; any thread */
#else
static inline int fault_point(const char *name)
{
	(void)name;
	return 0;
}
#endif

#endif
