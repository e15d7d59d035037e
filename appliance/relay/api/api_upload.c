#include "appliance/relay/api/api_upload.h"

#include <stdlib.h>
#include <string.h>

#include "appliance/relay/api/api_send.h"
#include "appliance/relay/api/form.h"

static void fail(struct api_upload *upload, enum api_fault fault, const char *field, const char *detail)
{
	if (!upload->failed)
		api_errors_add(&upload->errors, fault, field, detail);
	upload->failed = true;
}

/* ---- Octets in memory ---- */

static void hold(struct api_upload *upload, struct bytes octets)
{
	if (upload->held + octets.len > API_FIELDS_MAX_BYTES) {
		fail(upload, API_FAULT_TOO_LARGE, "", "12 MB beside its attachments");
	} else if (*upload->buffered + octets.len > API_BUFFERED_MAX_BYTES) {
		fail(upload, API_FAULT_BUSY, "", "Too many large requests at once");
	} else {
		upload->held += octets.len;
		*upload->buffered += octets.len;
		buf_put_bytes(&upload->octets, octets);
	}
}

/* ---- Parts of multipart/form-data ---- */

/* Octets of the longest front that is no longer than a name may be and ends with a whole character. */
static size_t cut_at_character(const char *name)
{
	size_t len = 0, next;

	while (name[len] != '\0' && (next = utf8_octets((uint8_t)name[len])) + len <= API_NAME_MAX_BYTES)
		len += next;
	return len;
}

static void add_file(struct api_upload *upload, const struct multipart_part *part)
{
	if (upload->n_files == API_ATTACHMENTS_MAX) {
		fail(upload, API_FAULT_TOO_MANY, "attachments", "10");
		return;
	}
	if (upload->body == NULL)
		upload->body = queue_body_begin(upload->queue, 0);
	upload->files[upload->n_files++] = (struct compose_file){
	    .field = mem_string(part->name),
	    .name = part->file_name == NULL ? mem_string("") : mem_string_n(part->file_name, cut_at_character(part->file_name)),
	    .type = mem_string(part->type),
	    .offset = upload->body_size,
	};
}

/* "attachment1" to "attachment10" */
static bool is_attachment(const char *name)
{
	char *end;
	unsigned long number;

	if (strncmp(name, "attachment", 10) != 0 || name[10] < '1' || name[10] > '9')
		return false;
	number = strtoul(name + 10, &end, 10);
	return *end == '\0' && number <= API_ATTACHMENTS_MAX;
}

static bool part_begin(const struct multipart_part *part, void *arg, struct err *err)
{
	struct api_upload *upload = arg;

	(void)err;
	upload->ignored = part->file_name != NULL && !is_attachment(part->name);
	if (upload->ignored && *part->file_name != '\0') /* a form's empty file field is no file */
		fail(upload, API_FAULT_ATTACHMENTS, part->name, "files are attachment1 to attachment10");
	free(upload->field);
	upload->field = NULL;
	buf_reset(&upload->octets);
	if (is_attachment(part->name)) {
		add_file(upload, part);
	} else if (!upload->ignored) {
		upload->field = mem_string(part->name);
		upload->field_latin1 = part->latin1;
	}
	return true;
}

static void append_file(struct api_upload *upload, struct bytes octets)
{
	struct compose_file *file = &upload->files[upload->n_files - 1];
	enum queue_append appended;

	if (upload->body_size + octets.len > upload->files_limit) {
		fail(upload, API_FAULT_TOO_LARGE, "attachments", "the server's largest message");
		return;
	}
	appended = queue_body_append(upload->body, octets);
	if (appended == QUEUE_APPEND_FAILED) {
		fail(upload, API_FAULT_BUSY, "", queue_body_error(upload->body)->text);
		return;
	}
	upload->waiting |= appended == QUEUE_APPEND_WAIT;
	upload->body_size += octets.len;
	file->len += octets.len;
}

static bool part_data(struct bytes octets, void *arg, struct err *err)
{
	struct api_upload *upload = arg;

	(void)err;
	if (upload->failed || upload->ignored)
		return true;
	if (upload->field != NULL)
		hold(upload, octets);
	else
		append_file(upload, octets);
	return true;
}

static bool part_end(void *arg, struct err *err)
{
	struct api_upload *upload = arg;
	bool set = upload->field == NULL || upload->failed ||
		   form_set(upload->fields, bytes_text(upload->field), buf_bytes(&upload->octets), upload->field_latin1, err);

	buf_reset(&upload->octets);
	return set;
}

/* ---- The whole ---- */

static bool is_media(const char *content_type, const char *media)
{
	size_t len = strlen(media);

	return strncasecmp(content_type, media, len) == 0 && strchr("; \t", content_type[len]) != NULL; /* or its end */
}

enum api_media api_upload_begin(struct api_upload *upload, struct queue *queue, uint64_t *buffered, uint64_t files_limit,
				const char *content_type)
{
	struct buf boundary = {0};
	struct multipart_sink sink = {.begin = part_begin, .data = part_data, .end = part_end, .arg = upload};

	*upload = (struct api_upload){.queue = queue, .buffered = buffered, .files_limit = files_limit};
	if (content_type == NULL)
		return API_MEDIA_NONE;
	if (is_media(content_type, "application/json")) {
		upload->media = API_MEDIA_JSON;
	} else if (is_media(content_type, "application/x-www-form-urlencoded")) {
		upload->media = API_MEDIA_FORM;
	} else if (multipart_boundary(content_type, &boundary)) {
		upload->media = API_MEDIA_MULTIPART;
		multipart_init(&upload->multipart, buf_bytes(&boundary), &sink);
	}
	buf_clear(&boundary);
	if (upload->media == API_MEDIA_FORM || upload->media == API_MEDIA_MULTIPART)
		upload->fields = json_object();
	return upload->media;
}

bool api_upload_append(struct api_upload *upload, struct bytes octets)
{
	struct err err;

	if (upload->failed)
		return true;
	if (upload->media != API_MEDIA_MULTIPART)
		hold(upload, octets);
	else if (!multipart_feed(&upload->multipart, octets, &err))
		fail(upload, API_FAULT_BODY, "", err.text);
	return !upload->waiting;
}

static void read_json(struct api_upload *upload)
{
	json_error_t error;
	const char *near;
	char *detail;

	if (upload->octets.len == 0) {
		fail(upload, API_FAULT_BODY, "", "it is empty");
		return;
	}
	upload->fields = json_loadb((const char *)upload->octets.data, upload->octets.len, 0, &error);
	if (upload->fields == NULL && json_error_code(&error) == json_error_null_character) {
		fail(upload, API_FAULT_BODY, "", "a text holds the character U+0000");
	} else if (upload->fields == NULL) {
		near = strstr(error.text, " near "); /* it quotes the body, which holds the key */
		detail = mem_format("%.*s (line %d, column %d)",
				    (int)(near == NULL ? strlen(error.text) : (size_t)(near - error.text)), error.text,
				    error.line, error.column);
		fail(upload, API_FAULT_BODY, "", detail);
		free(detail);
	} else if (!json_is_object(upload->fields)) {
		fail(upload, API_FAULT_BODY, "", "it is JSON, but no object");
	}
}

bool api_upload_finish(struct api_upload *upload)
{
	struct err err;

	if (upload->failed)
		return false;
	if (upload->media == API_MEDIA_JSON)
		read_json(upload);
	else if (upload->media == API_MEDIA_FORM && !form_decode(upload->fields, buf_bytes(&upload->octets), &err))
		fail(upload, API_FAULT_BODY, "", err.text);
	else if (upload->media == API_MEDIA_MULTIPART && !multipart_finish(&upload->multipart, &err))
		fail(upload, API_FAULT_BODY, "", err.text);
	buf_wipe_clear(&upload->octets);
	return !upload->failed;
}

void api_upload_clear(struct api_upload *upload)
{
	if (upload->buffered != NULL)
		*upload->buffered -= upload->held;
	json_decref(upload->fields);
	buf_wipe_clear(&upload->octets);
	multipart_clear(&upload->multipart);
	queue_body_discard(upload->body);
	for (size_t i = 0; i < upload->n_files; i++) {
		free(upload->files[i].field);
		free(upload->files[i].name);
		free(upload->files[i].type);
	}
	free(upload->field);
	api_errors_clear(&upload->errors);
	*upload = (struct api_upload){0};
}
