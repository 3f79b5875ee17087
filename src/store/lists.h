/* Lists: what lies in manifests/, events/ and packs/, and how much of it the catalogue knows. The
 * directories decide; the catalogue saves reading the files. */
#pragma once

#include "store/catalogue.h"
#include "store/packset.h"
#include "store/store.h"

typedef struct ListedManifest {
    uint64_t ordinal;
    ObjectId sha256;
    bool in_catalogue;
    bool damaged;
    BackupInfo info; /* empty when damaged */
} ListedManifest;

typedef struct ListedEvent {
    uint64_t number;
    ObjectId sha256;
    bool in_catalogue;
    bool damaged;
    Event event;
} ListedEvent;

typedef struct ListedPack {
    ObjectId sha256;
    bool in_catalogue;
} ListedPack;

typedef struct Lists {
    size_t n_manifests, n_events, n_packs;
    ListedManifest *manifests; /* by ordinal */
    ListedEvent *events;       /* by number */
    ListedPack *packs;         /* by name */
    bool catalogue_failed;     /* it could not be read */
    bool extra_lists;          /* it knows manifests or events that are not there */
    ObjectId *extra_packs;     /* packs it knows that are not there */
    size_t n_extra_packs;
} Lists;

/* List the directories (the pack set is refreshed), match them with `c` (may be NULL), and load
 * what it does not know. Damaged manifests and events are marked, not fatal. */
int lists_read(Backend *b, PackSet *packs, Catalogue *c, Lists *ret_lists, Error *e);
void lists_release(Lists *l);

/* Whether the catalogue they were matched with knows all that is there, and nothing else. */
bool lists_are_current(const Lists *l);

/* Load and check manifests/<ordinal>-<sha256>.json. -EBADMSG when damaged. */
int manifest_load(Backend *b, uint64_t ordinal, const ObjectId *sha256, Manifest **ret_manifest,
                  Error *e);

/* events/'s name of a listed event. */
void listed_event_name(const ListedEvent *x, char out[EVENT_NAME_SIZE]);

/* The backups that are not deleted. Takes the infos out of `l`. NULL when out of memory. */
BackupList *lists_take_backups(Lists *l);
