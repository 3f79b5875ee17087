/* Who reads a file from front to back has the next objects loaded by other threads meanwhile. */
#include "fs/ahead.h"
#include "fs/file.h"

/* Requests of one reader overtake each other by about as much as the kernel reads ahead. */
#define NEAR       (1u << 20)
#define STREAK_MIN (256u << 10) /* read in one go before anything is read ahead */

/* Whether a read goes on where the ones before it were. */
static bool goes_on(const Reading *r, uint64_t off)
{
    return off <= r->next + NEAR && r->next <= off + NEAR;
}

static void note(Reading *r, uint64_t off, size_t size)
{
    if (!goes_on(r, off)) {
        r->streak = 0;
        r->next = off;
        r->asked = 0;
    }
    uint64_t end = off + size;
    if (end > r->next) {
        r->streak += end - r->next;
        r->next = end;
    }
}

/* Ask for the objects up to `end`. */
static void ask(Fs *fs, OpenFile *f, uint64_t end)
{
    Reading *r = &f->reading;
    if (r->asked < r->next)
        r->asked = r->next;
    if (!r->scout && rope_cursor_new(fs->objects, f->node, f->node_len, &r->scout, NULL) < 0)
        return;
    while (r->asked < end) {
        bool is_object;
        ObjectId id;
        uint64_t next;
        if (rope_cursor_peek(r->scout, r->asked, &is_object, &id, &next, NULL) < 0 ||
            (is_object && !ahead_load(fs->ahead, &id)))
            return;
        r->asked = next;
    }
}

void file_read_ahead(Fs *fs, OpenFile *f, uint64_t off, size_t size)
{
    if (size == 0 || f->size <= STREAK_MIN || pthread_mutex_trylock(&f->lock) != 0)
        return;
    Reading *r = &f->reading;
    note(r, off, size);
    atomic_store_explicit(&f->is_passing, r->streak >= STREAK_MIN, memory_order_relaxed);
    /* As far ahead as was read so far, so that little is in vain. */
    uint64_t ahead = r->streak < fs->ahead_max ? r->streak : fs->ahead_max;
    uint64_t end = ahead < f->size - r->next ? r->next + ahead : f->size;
    /* In strides, not object by object: what is asked for is well ahead either way. */
    if (fs->ahead && r->streak >= STREAK_MIN && (end == f->size || r->asked < r->next + ahead / 2))
        ask(fs, f, end);
    pthread_mutex_unlock(&f->lock);
}
