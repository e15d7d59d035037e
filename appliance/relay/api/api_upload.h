/*
 * The body of a sending request: fields gathered as a JSON object, files in an unnamed file of the store
 * (queue_body of queue.h). Loop's thread.
 */
#ifndef INKAN_RELAY_API_UPLOAD_H
#define INKAN_RELAY_API_UPLOAD_H

#include <jansson.h>

#include "appliance/relay/api/api_errors.h"
#include "appliance/relay/api/compose.h"
#include "appliance/relay/api/multipart.h"
#include "appliance/relay/queue/queue.h"

enum api_media { API_MEDIA_NONE, API_MEDIA_JSON, API_MEDIA_FORM, API_MEDIA_MULTIPART };

struct api_upload {
	enum api_media media;
	struct queue *queue;
	uint64_t *buffered; /* shared with other requests: octets held in memory */
	uint64_t held; /* of it, by this one */
	uint64_t files_limit; /* octets of all files together */
	json_t *fields;
	struct buf octets; /* of the body, or of the field that is being read */
	struct multipart multipart;
	struct queue_body *body; /* of the files; NULL: none */
	uint64_t body_size;
	bool waiting; /* the body wants no more until it resumes; whoever hears of that clears it */
	struct compose_file files[API_ATTACHMENTS_MAX];
	size_t n_files;
	char *field; /* whose octets come now; NULL: those of a file */
	bool field_latin1;
	bool ignored; /* the part that comes now is no attachment */
	struct api_errors errors;
	bool failed; /* errors says why; what still comes is dropped */
};

/* By Content-Type; API_MEDIA_NONE: none that is taken. Starts an empty upload. */
enum api_media api_upload_begin(struct api_upload *upload, struct queue *queue, uint64_t *buffered, uint64_t files_limit,
				const char *content_type);

/* False: stop until the body (api_upload.body) resumes. */
bool api_upload_append(struct api_upload *upload, struct bytes octets);

/* All octets are there: reads the fields. False: errors says why. */
bool api_upload_finish(struct api_upload *upload) MUST_USE;
void api_upload_clear(struct api_upload *upload);

#endif
