/* What the codecs of provisioning messages share: for the provision*.c files alone. */
#ifndef INKAN_HSM_PROTOCOL_PIECES_H
#define INKAN_HSM_PROTOCOL_PIECES_H

#include "hsm/protocol/provision.h"

void piece_put_flag(struct buf *out, bool flag);
bool piece_get_flag(struct msg *msg);

struct bytes piece_get_owned(struct msg *msg); /* a copy; piece_clear_owned releases it, piece_wipe_owned overwrites it before */
void piece_clear_owned(struct bytes *octets);
void piece_wipe_owned(struct bytes *octets);

void piece_put_texts(struct buf *out, char *const *texts, size_t count);
char **piece_get_texts(struct msg *msg, size_t *count);
void piece_clear_texts(char **texts, size_t count);

void piece_put_attributes(struct buf *out, const struct key_attributes *attributes);
void piece_get_attributes(struct msg *msg, struct key_attributes *attributes);

/* Room for a whole task, so that no growing buffer leaves a copy of its secrets behind. */
void piece_reserve(struct buf *out, size_t contents);

#endif
