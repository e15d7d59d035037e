#include "appliance/relay/api/api_errors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
	int status;
	const char *code, *english, *japanese; /* `%s`: the detail, at most once */
} rows[] = {
    [API_FAULT_REQUIRED] = {400, "10-001", "is required", "必須項目です"},
    [API_FAULT_FORM] = {400, "10-002", "must be %s", "形式が正しくありません: %s"},
    [API_FAULT_TOO_LONG] = {400, "10-003", "is longer than %s", "長すぎます (上限 %s)"},
    [API_FAULT_TOO_MANY] = {400, "10-004", "has more than %s entries", "件数が上限 %s を超えています"},
    [API_FAULT_ADDRESS] = {400, "10-005", "%s is not a mail address", "%s はメールアドレスではありません"},
    [API_FAULT_ENCODING] = {400, "10-006", "is not UTF-8 text without control characters",
			    "制御文字を含まない UTF-8 ではありません"},
    [API_FAULT_CHARACTER] = {400, "10-007", "%s", "変換できない文字があります: %s"},
    [API_FAULT_HEADER] = {400, "10-008", "%s may not be set", "%s は指定できません"},
    [API_FAULT_ATTACHMENTS] = {400, "10-009", "%s", "添付ファイルが正しくありません: %s"},
    [API_FAULT_BODY] = {400, "10-010", "The request's body cannot be read: %s", "リクエストの本文を読み取れません: %s"},
    [API_FAULT_LOGIN] = {401, "11-001", "api_user or api_key is wrong", "api_user または api_key が正しくありません"},
    [API_FAULT_METHOD] = {405, "12-001", "Use %s", "%s を使用してください"},
    [API_FAULT_PATH] = {404, "12-002", "There is nothing at this path", "このパスには何もありません"},
    [API_FAULT_MEDIA_TYPE] =
	{415, "12-003", "Send application/json, application/x-www-form-urlencoded or multipart/form-data",
	 "application/json、application/x-www-form-urlencoded、multipart/form-data のいずれかで送信してください"},
    [API_FAULT_TOO_LARGE] = {413, "12-004", "The request is larger than %s", "リクエストが上限 %s を超えています"},
    [API_FAULT_HTTP] = {400, "12-005", "Not an HTTP request that can be served: %s", "HTTP リクエストが正しくありません: %s"},
    [API_FAULT_CONNECTIONS] = {429, "12-006", "More than %s requests at once of this api_user",
			       "この api_user の同時接続数が上限 %s を超えています"},
    [API_FAULT_BUSY] = {503, "13-001", "%s", "しばらくしてから再度お試しください: %s"},
    [API_FAULT_REFUSED] = {400, "13-002", "%s", "メールを受け付けられません: %s"},
    [API_FAULT_EXPIRED] = {400, "13-003", "S/MIME certificate is expired", "S/MIME certificate is expired"},
    [API_FAULT_TIMEOUT] = {408, "12-007", "The request took too long", "リクエストが時間内に完了しませんでした"},
    [API_FAULT_CONSOLE_ONLY] = {403, "12-008", "The audit log is not read by the API: on the console, show log audit",
				"監査ログは API では取得できません。コンソールの show log audit を使用してください"},
    [API_FAULT_CODING] = {415, "12-009", "A body with a Content-Encoding is not read",
			  "Content-Encoding の付いた本文は受け付けません"},
};

void api_errors_add(struct api_errors *errors, enum api_fault fault, const char *field, const char *detail)
{
	if (errors->n_rows == API_ERRORS_MAX)
		return;
	errors->rows[errors->n_rows++] = (struct api_error){fault, mem_string(field), mem_string(detail)};
}

void api_errors_clear(struct api_errors *errors)
{
	for (size_t i = 0; i < errors->n_rows; i++) {
		free(errors->rows[i].field);
		free(errors->rows[i].detail);
	}
	errors->n_rows = 0;
}

int api_errors_status(const struct api_errors *errors)
{
	return errors->n_rows == 0 ? 500 : rows[errors->rows[0].fault].status;
}

static char *message_of(const struct api_error *error, bool japanese)
{
	const char *form = japanese ? rows[error->fault].japanese : rows[error->fault].english, *place = strstr(form, "%s");

	if (place == NULL)
		return mem_string(form);
	return mem_format("%.*s%s%s", (int)(place - form), form, error->detail, place + 2);
}

static json_t *error_object(const struct api_error *error, bool japanese)
{
	char *message = message_of(error, japanese);
	json_t *object = json_pack("{s:s, s:s, s:s}", "code", rows[error->fault].code, "field", error->field, "message", message);

	free(message);
	if (object == NULL) /* the field's name or the detail came as no UTF-8 */
		object = json_pack("{s:s, s:s, s:s}", "code", rows[error->fault].code, "field", "", "message", "is not UTF-8");
	return object;
}

void api_errors_write(struct buf *out, const struct api_errors *errors, bool japanese)
{
	json_t *list = json_array(), *reply = json_pack("{s:o}", "errors", list);
	char *text;

	for (size_t i = 0; i < errors->n_rows; i++)
		json_array_append_new(list, error_object(&errors->rows[i], japanese));
	text = json_dumps(reply, JSON_COMPACT);
	buf_put_text(out, text);
	free(text);
	json_decref(reply);
}

bool api_language_is_japanese(const char *accept_language)
{
	for (const char *at = accept_language; at != NULL && *at != '\0';) {
		at += strspn(at, " \t,");
		if (strncasecmp(at, "ja", 2) == 0 && strchr("-;, \t", at[2]) != NULL) /* strchr finds the NUL too */
			return true;
		if (strncasecmp(at, "en", 2) == 0 && strchr("-;, \t", at[2]) != NULL)
			return false;
		at += strcspn(at, ",");
	}
	return false;
}
