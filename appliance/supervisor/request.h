/* A request of a console that is answered later, exactly once. */
#ifndef INKAN_SUPERVISOR_REQUEST_H
#define INKAN_SUPERVISOR_REQUEST_H

#include <stddef.h>

#include "appliance/base/err.h"

/* `failed` NULL: done, with `fd` -1 or a descriptor whose ownership goes along. */
typedef void request_done(void *arg, const struct err *failed, int fd);

struct request {
	request_done *done; /* NULL: nobody asked, or it is answered */
	void *arg;
};

static inline void request_answer(struct request *request, const struct err *failed, int fd)
{
	struct request answered = *request;

	*request = (struct request){0};
	if (answered.done != NULL)
		answered.done(answered.arg, failed, fd);
}

#endif
