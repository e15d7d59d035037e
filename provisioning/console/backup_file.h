/*
 * A backup: lines of text that say what it is, a blank line, and the octets of a database.
 *     INKAN BACKUP 1
 *     made 2026-11-24 21:30:00
 *     by admin
 *     size 126976
 *     sha256 HEX
 * The digest is of the database. It finds damage; it does not tell who made the file.
 */
#ifndef INKAN_CONSOLE_BACKUP_FILE_H
#define INKAN_CONSOLE_BACKUP_FILE_H

#include "appliance/base/bytes.h"

#define BACKUP_VERSION 1
#define BACKUP_MAX_BYTES (INT64_C(4) << 30) /* of a database */
#define BACKUP_HEAD_MAX_BYTES 1024

struct backup_head {
	unsigned version;
	char made[32], by[128]; /* as written there */
	uint64_t size;
	uint8_t sha256[32];
};

/* ERR_INVALID: this is no backup; a newer version. *length is that of the head. Pure. */
bool backup_head_read(struct bytes text, struct backup_head *head, size_t *length, struct err *err) MUST_USE;

/* Writes `database` (a file) as a backup of mode 0600, whole or not at all. ERR_EXISTS: the file is there, without `force`. */
bool backup_write(const char *database, const char *path, const char *made, const char *by, bool force, struct err *err) MUST_USE;

/* Its database into a new file `database` (0600), whose digest is checked. ERR_INTEGRITY: it is damaged or cut short. */
bool backup_read(const char *path, const char *database, struct backup_head *head, struct err *err) MUST_USE;

#endif
