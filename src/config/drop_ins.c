#include "config/drop_ins.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"

char *drop_ins_folder(const char *file)
{
	const char *slash = strrchr(file, '/');

	return xasprintf("%.*s" DROP_INS_FOLDER, slash != NULL ? (int)(slash + 1 - file) : 0, file);
}

/* Editors and packagers leave other files beside them, and hidden ones. */
static int is_drop_in(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name), suffix = strlen(DROP_INS_SUFFIX);

	return entry->d_name[0] != '.' && n > suffix &&
	       strcmp(entry->d_name + n - suffix, DROP_INS_SUFFIX) == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

int drop_ins_list(const char *folder, char ***files)
{
	struct dirent **entries = NULL;
	int n = scandir(folder, &entries, is_drop_in, by_name);

	*files = n > 0 ? xcalloc((size_t)n, sizeof **files) : NULL;
	for (int i = 0; i < n; i++) {
		(*files)[i] = xasprintf("%s/%s", folder, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return n;
}

static void read_one(struct source *main, char *file)
{
	struct drop_in *item = &main->drop_ins->items[main->drop_ins->count++];

	item->file = file;
	if (source_read(&item->source, item->file, main->problems) == 0)
		return;
	/* Half a file is none. */
	config_destroy(&item->source.tree);
	config_init(&item->source.tree);
}

/* Whoever can put a file there decides who may send. */
static void check_folder(const struct source *main, const char *folder)
{
	struct stat st;

	if (stat(folder, &st) == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		source_warn(main, NULL, "others than its owner can put files into %s; run: chmod go-w %s",
		    folder, folder);
}

static void read_folder(struct source *main, const char *folder)
{
	char **files;
	int n = drop_ins_list(folder, &files);

	if (n < 0 && errno != ENOENT && errno != ENOTDIR)
		source_error(main, NULL, "%s: cannot be read: %s; run this as root or as the daemon's user",
		    folder, strerror(errno));
	if (n > DROP_INS_MAX)
		source_error(main, NULL, "%s holds %d files; at most %d are possible, put some together",
		    folder, n, DROP_INS_MAX);
	main->drop_ins->items = xcalloc(n > 0 ? (size_t)n : 1, sizeof *main->drop_ins->items);
	for (int i = 0; i < n; i++) {
		if (i < DROP_INS_MAX)
			read_one(main, files[i]);
		else
			free(files[i]);
	}
	free(files);
}

void drop_ins_read(struct source *main)
{
	char *folder = drop_ins_folder(main->file);

	main->drop_ins = xcalloc(1, sizeof *main->drop_ins);
	read_folder(main, folder);
	check_folder(main, folder);
	free(folder);
}

void drop_ins_free(struct drop_ins *drop_ins)
{
	if (drop_ins == NULL)
		return;
	for (size_t i = 0; i < drop_ins->count; i++) {
		source_free(&drop_ins->items[i].source);
		free(drop_ins->items[i].file);
	}
	free(drop_ins->items);
	free(drop_ins);
}

const struct source *drop_ins_device(const struct source *main, size_t *index)
{
	for (size_t i = main->drop_ins != NULL ? main->drop_ins->count : 0; i-- > 0;) {
		const struct drop_in *item = &main->drop_ins->items[i];
		if (*index < item->first_device)
			continue;
		*index -= item->first_device;
		return &item->source;
	}
	return main;
}

const struct source *drop_ins_owner(const struct source *main, const config_setting_t *setting)
{
	for (size_t i = 0; main->drop_ins != NULL && i < main->drop_ins->count; i++)
		if (setting->config == &main->drop_ins->items[i].source.tree)
			return &main->drop_ins->items[i].source;
	return main;
}
