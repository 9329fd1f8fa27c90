
#include "ngx_patient_guard_node.h"


static ngx_patient_guard_ref_t *ngx_patient_guard_member_head(
    ngx_patient_guard_node_t *node, ngx_patient_guard_account_t *alias);
static uint64_t ngx_patient_guard_member_trim(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, uint64_t now);
static void ngx_patient_guard_member_let_go(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref);
static void ngx_patient_guard_member_drop(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, uint64_t now);
static void ngx_patient_guard_member_unchain(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref);
static void ngx_patient_guard_member_unlink(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref);
static void ngx_patient_guard_member_link(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref);


ngx_patient_guard_node_t *
ngx_patient_guard_node_create(ngx_slab_pool_t *pool,
    const u_char seed[NGX_PATIENT_GUARD_SEED], uint64_t id)
{
    size_t                     size, chains;
    u_char                    *p;
    ngx_patient_guard_node_t  *node;

    size = pool->pfree * ngx_pagesize;

    node = ngx_slab_alloc(pool, size);
    if (node == NULL) {
        return NULL;
    }

    ngx_memzero(node, sizeof(ngx_patient_guard_node_t));
    ngx_memcpy(node->seed, seed, NGX_PATIENT_GUARD_SEED);

    node->id = id;

    /* a chain of accounts for 16 to 32 cells */

    for (chains = 8;
         chains * 32 * NGX_PATIENT_GUARD_CELL <= size;
         chains *= 2)
    {
        /* void */
    }

    node->member_mask = chains - 1;

    p = (u_char *) node
        + ngx_align(sizeof(ngx_patient_guard_node_t),
                    NGX_PATIENT_GUARD_CELL);

    node->members = (ngx_patient_guard_ref_t *) p;

    ngx_memzero(p, chains * sizeof(ngx_patient_guard_ref_t));

    p += chains * sizeof(ngx_patient_guard_ref_t);
    size -= p - (u_char *) node;

    if (ngx_patient_guard_zone_init(&node->zone, p, size) != NGX_OK) {
        return NULL;
    }

    node->version = NGX_PATIENT_GUARD_NODE_VERSION;

    return node;
}


static ngx_patient_guard_ref_t *
ngx_patient_guard_member_head(ngx_patient_guard_node_t *node,
    ngx_patient_guard_account_t *alias)
{
    return &node->members[alias->word[0] & node->member_mask];
}


ngx_patient_guard_ref_t
ngx_patient_guard_member_find(ngx_patient_guard_node_t *node,
    ngx_patient_guard_account_t *alias)
{
    ngx_patient_guard_ref_t      ref;
    ngx_patient_guard_member_t  *member;

    for (ref = *ngx_patient_guard_member_head(node, alias);
         ref;
         ref = member->chain)
    {
        member = ngx_patient_guard_member(node, ref);

        if (ngx_patient_guard_same(&member->alias, alias)) {
            return ref;
        }
    }

    return 0;
}


ngx_patient_guard_ref_t
ngx_patient_guard_member_add(ngx_patient_guard_node_t *node,
    ngx_patient_guard_account_t *alias)
{
    ngx_patient_guard_ref_t      ref, *head;
    ngx_patient_guard_member_t  *member;

    ref = ngx_patient_guard_cell_take(&node->zone);
    head = ngx_patient_guard_member_head(node, alias);

    ngx_patient_guard_save(&node->zone, head);

    member = ngx_patient_guard_member(node, ref);

    member->alias = *alias;
    member->chain = *head;
    *head = ref;

    ngx_patient_guard_member_link(node, ref);

    node->ages.members++;

    ngx_patient_guard_commit(&node->zone);

    return ref;
}


void
ngx_patient_guard_member_rename(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, ngx_patient_guard_account_t *alias)
{
    ngx_patient_guard_ref_t     *head;
    ngx_patient_guard_member_t  *member;

    ngx_patient_guard_member_unchain(node, ref);

    member = ngx_patient_guard_member(node, ref);
    head = ngx_patient_guard_member_head(node, alias);

    ngx_patient_guard_save(&node->zone, head);
    ngx_patient_guard_save(&node->zone, member);

    member->alias = *alias;
    member->chain = *head;
    *head = ref;

    ngx_patient_guard_commit(&node->zone);
}


ngx_patient_guard_ref_t
ngx_patient_guard_member_queue_open(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, uint32_t id)
{
    ngx_patient_guard_ref_t  queue;

    queue = ngx_patient_guard_member_queue(node, ref, id);

    if (queue) {
        return queue;
    }

    return ngx_patient_guard_queue_add(&node->zone,
                                &ngx_patient_guard_member(node, ref)->queues,
                                id);
}


void
ngx_patient_guard_member_used(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref)
{
    if (node->ages.newest == ref) {
        return;
    }

    ngx_patient_guard_member_unlink(node, ref);
    ngx_patient_guard_member_link(node, ref);
    ngx_patient_guard_commit(&node->zone);
}


ngx_int_t
ngx_patient_guard_member_reserve(ngx_patient_guard_node_t *node, uint64_t n,
    ngx_patient_guard_ref_t *keep, ngx_uint_t nkeep, uint64_t now)
{
    uint64_t                 own;
    ngx_uint_t               i;
    ngx_patient_guard_ref_t  ref;

    if (node->zone.pool.nfree >= n) {
        return NGX_OK;
    }

    own = 0;

    for (i = 0; i < nkeep; i++) {
        own += keep[i] ? ngx_patient_guard_member_trim(node, keep[i], now) : 0;
    }

    /* the first cell is never used */

    if (n + own >= node->zone.ncells) {
        return NGX_ERROR;
    }

    while (node->zone.pool.nfree < n) {

        ref = node->ages.oldest;

        for (i = 0; ref && i < nkeep; i++) {
            if (ref == keep[i]) {
                ref = ngx_patient_guard_member(node, ref)->newer;
                i = (ngx_uint_t) -1;
            }
        }

        if (ref == 0) {
            return NGX_ERROR;
        }

        ngx_patient_guard_member_drop(node, ref, now);
    }

    return NGX_OK;
}


/* drops queues that hold nothing any more; how many cells are left to it */

static uint64_t
ngx_patient_guard_member_trim(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, uint64_t now)
{
    uint64_t                     cells;
    ngx_patient_guard_ref_t      next, entry;
    ngx_patient_guard_queue_t   *queue;
    ngx_patient_guard_member_t  *member;

    member = ngx_patient_guard_member(node, ref);
    cells = 1;

    for (ref = member->queues; ref; ref = next) {

        queue = ngx_patient_guard_queue(&node->zone, ref);
        next = queue->next;

        if (queue->until <= now / 1000) {
            ngx_patient_guard_member_let_go(node, ref);
            ngx_patient_guard_queue_drop(&node->zone, &member->queues, ref);
            continue;
        }

        cells++;

        if (queue->id == NGX_PATIENT_GUARD_QUEUE_MEMORY) {
            cells += ((ngx_patient_guard_memory_t *) queue)->cells
                     + NGX_PATIENT_GUARD_MEMORY_HEAD - 1;
        }

        cells += ngx_patient_guard_is_habit(queue->id);

        for (entry = queue->first;
             entry;
             entry = ngx_patient_guard_entry(&node->zone, entry)->next)
        {
            cells++;
        }
    }

    return cells;
}


/* of a queue about to be dropped: what is forgotten is not told any more */

static void
ngx_patient_guard_member_let_go(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref)
{
    ngx_patient_guard_fleet_t  *fleet;
    ngx_patient_guard_queue_t  *queue;

    queue = ngx_patient_guard_queue(&node->zone, ref);

    if (queue->id == NGX_PATIENT_GUARD_QUEUE_MEMORY) {
        ngx_patient_guard_memory_empty(&node->zone, ref);
        return;
    }

    if (ngx_patient_guard_is_habit(queue->id)) {
        ngx_patient_guard_habit_empty(&node->zone, ref);
        return;
    }

    if (queue->id != NGX_PATIENT_GUARD_QUEUE_FLEET) {
        return;
    }

    fleet = (ngx_patient_guard_fleet_t *) queue;

    if (fleet->letter) {
        ngx_patient_guard_letter_drop(&node->zone, &node->outbox,
                                      &fleet->letter);
    }
}


static void
ngx_patient_guard_member_drop(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref, uint64_t now)
{
    ngx_uint_t                   lost;
    ngx_patient_guard_ref_t      next;
    ngx_patient_guard_queue_t   *queue;

    lost = 0;

    for (next = ngx_patient_guard_member(node, ref)->queues;
         next;
         next = queue->next)
    {
        queue = ngx_patient_guard_queue(&node->zone, next);
        lost |= (queue->until > now / 1000);
    }

    ngx_patient_guard_member_forget(node, ref);

    ngx_patient_guard_save(&node->zone, &node->ages);

    node->ages.evicted++;
    node->ages.lost += lost;

    ngx_patient_guard_commit(&node->zone);
}


void
ngx_patient_guard_member_forget(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref)
{
    ngx_patient_guard_member_t  *member;

    member = ngx_patient_guard_member(node, ref);

    while (member->queues) {

        ngx_patient_guard_member_let_go(node, member->queues);

        ngx_patient_guard_queue_drop(&node->zone, &member->queues,
                                     member->queues);
    }

    ngx_patient_guard_member_unchain(node, ref);
    ngx_patient_guard_member_unlink(node, ref);
    ngx_patient_guard_cell_free(&node->zone, ref);

    ngx_patient_guard_save(&node->zone, &node->ages);

    node->ages.members--;

    ngx_patient_guard_commit(&node->zone);
}


static void
ngx_patient_guard_member_unchain(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref)
{
    ngx_patient_guard_ref_t     *link;
    ngx_patient_guard_member_t  *member;

    member = ngx_patient_guard_member(node, ref);
    link = ngx_patient_guard_member_head(node, &member->alias);

    while (*link != ref) {
        link = &ngx_patient_guard_member(node, *link)->chain;
    }

    ngx_patient_guard_save(&node->zone, link);

    *link = member->chain;
}


static void
ngx_patient_guard_member_unlink(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref)
{
    ngx_patient_guard_ref_t     *older, *newer;
    ngx_patient_guard_member_t  *member;

    member = ngx_patient_guard_member(node, ref);

    older = member->older
            ? &ngx_patient_guard_member(node, member->older)->newer
            : &node->ages.oldest;

    newer = member->newer
            ? &ngx_patient_guard_member(node, member->newer)->older
            : &node->ages.newest;

    ngx_patient_guard_save(&node->zone, older);
    ngx_patient_guard_save(&node->zone, newer);

    *older = member->newer;
    *newer = member->older;
}


static void
ngx_patient_guard_member_link(ngx_patient_guard_node_t *node,
    ngx_patient_guard_ref_t ref)
{
    ngx_patient_guard_ref_t     *last;
    ngx_patient_guard_member_t  *member;

    member = ngx_patient_guard_member(node, ref);

    last = node->ages.newest
           ? &ngx_patient_guard_member(node, node->ages.newest)->newer
           : &node->ages.oldest;

    ngx_patient_guard_save(&node->zone, member);
    ngx_patient_guard_save(&node->zone, last);
    ngx_patient_guard_save(&node->zone, &node->ages);

    member->older = node->ages.newest;
    member->newer = 0;

    *last = ref;
    node->ages.newest = ref;
}
