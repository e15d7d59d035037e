/* Configurations and backups of anybody's, and lines of a bad typist: no read outside them, and what is accepted is sound. */
#include <stdlib.h>
#include <string.h>

#include "provisioning/console/backup_file.h"
#include "provisioning/console/banner.h"
#include "provisioning/console/history.h"
#include "provisioning/console/loading.h"
#include "provisioning/console/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was loaded can be written as lines, which load to the same. */
static void load(struct bytes text)
{
	struct settings none = {0};
	struct loading first = {.name = "fuzz", .whole = true, .before = &none}, again = {.name = "again", .whole = true};
	struct buf lines = {0};

	if (loading_text(&first, text, NULL)) {
		for (size_t i = 0; i < first.settings.count; i++) {
			const struct setting *setting = &first.settings.items[i];

			if (!setting_is_secret(setting_row_of(setting->path))) {
				tree_put_line(&lines, setting);
				buf_put_byte(&lines, '\n');
			} else {
				buf_printf(&lines, "set %s " TREE_HIDDEN "\n", setting->path);
			}
		}
		again.before = &first.settings;
		if (first.settings.count > 0 &&
		    (!loading_text(&again, buf_bytes(&lines), NULL) || !tree_equal(&first.settings, &again.settings)))
			abort();
	}
	settings_clear(&first.settings);
	settings_clear(&again.settings);
	buf_clear(&first.missing);
	buf_clear(&again.missing);
	buf_clear(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line = mem_string_n((const char *)data, size);
	struct backup_head head;
	struct buf banner = {0};
	size_t length;

	load(bytes_of(data, size));
	if (backup_head_read(bytes_of(data, size), &head, &length, NULL) && (length > size || head.size > BACKUP_MAX_BYTES))
		abort();
	banner_put(&banner, line);
	if (history_safe_length(line, strlen(line) / 2) > strlen(line))
		abort();
	buf_clear(&banner);
	free(line);
	return 0;
}
