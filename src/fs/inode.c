#include "fs/inode.h"

#define ROOT_NUMBER 1 /* FUSE_ROOT_ID */

uint64_t inode_of_virtual(InodeKind kind, uint32_t number)
{
    if (kind == INODE_ROOT)
        return ROOT_NUMBER;
    return inode_of_entry(INODE_VIRTUAL, number, kind);
}

bool inode_parse(uint64_t ino, Inode *ret_inode)
{
    unsigned view = (unsigned)(ino >> 60);
    uint32_t middle = (uint32_t)(ino >> 32) & INODE_ORDINAL_MAX, low = (uint32_t)ino;

    if (ino == ROOT_NUMBER) {
        *ret_inode = (Inode){.view = INODE_VIRTUAL, .kind = INODE_ROOT};
        return true;
    }
    if (view == INODE_VIRTUAL) {
        bool is_dir = low > INODE_ROOT && low < INODE_KIND_END;
        if (!is_dir && (low != INODE_STATUS || middle != 0))
            return false;
        *ret_inode = (Inode){.view = INODE_VIRTUAL, .kind = (InodeKind)low, .number = middle};
        return true;
    }
    if (view > INODE_COLLECTION_BY_ID || middle == 0 || (view == INODE_FILE && low == 0))
        return false;
    *ret_inode = (Inode){.view = (InodeView)view, .ordinal = middle, .index = low};
    return true;
}
