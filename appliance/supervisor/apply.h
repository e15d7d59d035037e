/* Applying a revision (CONTROL_APPLY): sockets, the relay's check, certificates to the workers, the relay, in this order. */
#ifndef INKAN_SUPERVISOR_APPLY_H
#define INKAN_SUPERVISOR_APPLY_H

#include <stdint.h>

#include "appliance/supervisor/request.h"

#define APPLY_DEADLINE_MS 60000
#define APPLY_CERTIFICATES_MS 10000 /* workers that have not taken the certificates by then get no more time */

struct apply;
struct supervisor;

void apply_begin(struct supervisor *supervisor, uint64_t revision, bool check, const struct request *request);
void apply_worker_changed(struct supervisor *supervisor); /* a worker has taken its certificates, or has gone */
void apply_cancel(struct supervisor *supervisor); /* inkand ends: nothing more is answered */

#endif
