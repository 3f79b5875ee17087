/* DamageList: what a verify found wrong, and the files of the backups that it touches. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/idmap.h"

/* More touched files than this are counted, not listed. */
#define DAMAGE_TOUCHES_MAX 1000

#define DAMAGE_NONE SIZE_MAX /* no finding */

typedef enum DamageKind {
    DAMAGE_PACK,      /* a pack as a whole: its name, header, trailer, index */
    DAMAGE_OBJECT,    /* one object; the pack it lies in is known */
    DAMAGE_BASE,      /* an object that is a delta of a damaged one, which lies in that pack */
    DAMAGE_MISSING,   /* an object that is in no pack, or what it is a delta of */
    DAMAGE_MANIFEST,  /* `file` is no sound manifest */
    DAMAGE_EVENT,     /* `file` is no sound event */
    DAMAGE_TREE,      /* a backup's directories or ropes contradict each other */
    DAMAGE_CATALOGUE, /* metadata.db contradicts manifests or events: no backup is harmed */
} DamageKind;

typedef struct DamageTouch {
    size_t backup; /* position in the list of backups that was verified */
    char *path;    /* of the file or directory in the backup; owned */
} DamageTouch;

typedef struct Damage {
    DamageKind kind;
    char *file; /* its path in the store: pack, manifest or event; NULL when not known; owned */
    bool has_object;
    ObjectId object;
    char *message;        /* owned */
    DamageTouch *touches; /* the first DAMAGE_TOUCHES_MAX; owned */
    size_t n_touches;
    uint64_t touched;    /* how many there are */
    bool first_of_file;  /* among the findings about it */
    size_t next_of_file; /* the next finding about the same file, or about none; or DAMAGE_NONE */
    size_t next_of_object;
} Damage;

typedef struct DamageList {
    pthread_mutex_t lock;
    Damage *items;
    size_t n, capacity;
    IdMap findings, files, objects; /* what is known of each, so that many cost no more than few */
    bool *backups;                  /* by position: something touches it */
    size_t n_backups;
} DamageList;

void damage_list_init(DamageList *l);
void damage_list_release(DamageList *l); /* NULL is allowed */

/* Add a finding. `file` and `object` may be NULL. The same kind, file and object twice is one
 * finding with the first message. 0 or -ENOMEM. Thread-safe. */
int damage_add(DamageList *l, DamageKind kind, const char *file, const ObjectId *object,
               const char *message);

/* Note that the findings about `object` touch `path` of backup `backup`; the same file again is
 * not counted again when it follows at once. 0 or -ENOMEM. Thread-safe. */
int damage_touch(DamageList *l, const ObjectId *object, size_t backup, const char *path);

/* Drop the findings that `keep` answers false for. 0 or -ENOMEM. Not thread-safe. */
int damage_filter(DamageList *l, bool (*keep)(void *ctx, const Damage *d), void *ctx);

/* Whether there is a finding about `file`. Not thread-safe. */
bool damage_has_file(const DamageList *l, const char *file);

/* Whether a finding, also one that was dropped, touches the backup. Not thread-safe. */
bool damage_touches(const DamageList *l, size_t backup);

/* "pack", "object", "base", "missing", "manifest", "event", "tree", "catalogue": for JSON. */
const char *damage_kind_name(DamageKind kind);
