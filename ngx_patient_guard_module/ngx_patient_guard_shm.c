
#include <openssl/rand.h>

#include "ngx_patient_guard_shm.h"
#include "ngx_patient_guard_fleet.h"
#include "ngx_patient_guard_seen.h"


static uint64_t ngx_patient_guard_shm_reserve(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_limit_t *limits, ngx_uint_t nlimits,
    ngx_uint_t npatients);
static ngx_uint_t ngx_patient_guard_shm_keys(
    ngx_patient_guard_limit_t *limits, ngx_uint_t nlimits);
static ngx_patient_guard_ref_t ngx_patient_guard_shm_member(
    ngx_patient_guard_shm_t *shm, ngx_patient_guard_account_t *alias,
    ngx_patient_guard_account_t *previous);
static uint64_t ngx_patient_guard_shm_cells(ngx_patient_guard_shm_t *shm,
    uint32_t most);
static ngx_int_t ngx_patient_guard_shm_fits(ngx_patient_guard_shm_t *shm);
static ngx_int_t ngx_patient_guard_shm_store_count(
    ngx_patient_guard_store_t *store, ngx_patient_guard_op_t *op);
static ngx_int_t ngx_patient_guard_shm_charge(
    ngx_patient_guard_store_t *store, ngx_patient_guard_lookup_t *lookup,
    ngx_patient_guard_tally_t *tally);
static void ngx_patient_guard_shm_forget(ngx_patient_guard_op_t *op);


ngx_int_t
ngx_patient_guard_shm_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_patient_guard_shm_t  *old = data;

    u_char                    seed[NGX_PATIENT_GUARD_SEED];
    uint64_t                  id;
    ngx_time_t               *tp;
    ngx_patient_guard_shm_t  *shm;

    shm = zone->data;

    shm->store.count = ngx_patient_guard_shm_store_count;
    shm->store.charge = ngx_patient_guard_shm_charge;
    shm->store.forget = ngx_patient_guard_shm_forget;
    shm->pool = (ngx_slab_pool_t *) zone->shm.addr;
    shm->name = zone->shm.name;
    shm->log = zone->shm.log;

    if (old || zone->shm.exists) {

        shm->node = old ? old->node : shm->pool->data;

        if (shm->node == NULL
            || shm->node->version != NGX_PATIENT_GUARD_NODE_VERSION)
        {
            ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                          "zone \"%V\" was made by another version of the "
                          "module, restart nginx", &zone->shm.name);
            return NGX_ERROR;
        }

        return ngx_patient_guard_shm_fits(shm);
    }

    if (RAND_bytes(seed, sizeof(seed)) != 1
        || RAND_bytes((u_char *) &id, sizeof(id)) != 1)
    {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                      "RAND_bytes() failed for zone \"%V\"",
                      &zone->shm.name);
        return NGX_ERROR;
    }

    shm->node = ngx_patient_guard_node_create(shm->pool, seed, id);

    if (shm->node == NULL) {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                      "zone \"%V\" is too small", &zone->shm.name);
        return NGX_ERROR;
    }

    shm->pool->data = shm->node;

    /* above those of an earlier life, and below 2^53 until the year 2039 */

    tp = ngx_timeofday();
    shm->node->number = ((uint64_t) tp->sec * 1000 + tp->msec) << 12;

    /* when it is full the oldest accounts go: no news for the slab's log */

    shm->pool->log_nomem = 0;

    return ngx_patient_guard_shm_fits(shm);
}


static ngx_int_t
ngx_patient_guard_shm_fits(ngx_patient_guard_shm_t *shm)
{
    uint64_t    cells, needs, most, less;
    ngx_uint_t  i;

    shm->lost = shm->node->ages.lost;

    cells = shm->node->zone.ncells - 1;
    needs = ngx_patient_guard_shm_cells(shm, 0);

    if (needs > cells) {
        ngx_log_error(NGX_LOG_EMERG, shm->log, 0,
                      "zone \"%V\" is too small: one account may take %uL KB "
                      "of it under the limits of its policy and it has %uL "
                      "KB, set \"zone\" to a larger size",
                      &shm->name, needs * NGX_PATIENT_GUARD_CELL / 1024,
                      cells * NGX_PATIENT_GUARD_CELL / 1024);
        return NGX_ERROR;
    }

    less = 0;
    most = NGX_PATIENT_GUARD_COUNT_MAX;

    while (less < most) {

        shm->most = (uint32_t) ((less + most + 1) / 2);

        if (ngx_patient_guard_shm_cells(shm, shm->most) <= cells) {
            less = shm->most;

        } else {
            most = shm->most - 1;
        }
    }

    shm->most = (uint32_t) most;

    for (i = 0; i < shm->nlimits; i++) {
        shm->widest[i] = shm->limits[i];

        if (shm->variable & (uint32_t) 1 << i) {
            shm->widest[i].count = ngx_max(shm->limits[i].count, shm->most);
        }
    }

    return NGX_OK;
}


u_char *
ngx_patient_guard_shm_seed(ngx_patient_guard_shm_t *shm)
{
    return shm->node->seed;
}


uint64_t
ngx_patient_guard_shm_evicted(ngx_patient_guard_shm_t *shm)
{
    return shm->node->ages.evicted;
}


/*
 * Cells that one account may take at the most; where the count comes from a
 * variable, it is the default or "most", whichever is more.
 */

static uint64_t
ngx_patient_guard_shm_cells(ngx_patient_guard_shm_t *shm, uint32_t most)
{
    uint64_t                   n;
    ngx_uint_t                 i;
    ngx_patient_guard_limit_t  limits[NGX_PATIENT_GUARD_LIMITS];

    /*
     * The account, its challenge, the one that was passed, and its grants in
     * as many slices; the other keys; whom it knows.
     */

    n = 1 + 1 + 1 + 1 + NGX_PATIENT_GUARD_SLICES + 1
        + ngx_patient_guard_shm_keys(shm->limits, shm->nlimits)
          * (shm->fleet ? 1 + NGX_PATIENT_GUARD_FLEET_CELLS : 1)
        + (shm->memory ? 1 + NGX_PATIENT_GUARD_MEMORY_CELLS : 0)
        + (shm->memory && shm->fleet ? 1 + NGX_PATIENT_GUARD_SEEN : 0);

    for (i = 0; i < shm->nlimits; i++) {

        limits[i] = shm->limits[i];

        if (shm->variable & (uint32_t) 1 << i) {
            limits[i].count = ngx_max(limits[i].count, most);
        }

        n += 1 + (limits[i].factor ? NGX_PATIENT_GUARD_HABIT_CELLS : 0)
             + (ngx_patient_guard_keeps_set(&limits[i])
                  ? ngx_patient_guard_set_cap(limits[i].count)
                  : NGX_PATIENT_GUARD_SLICES + 1);

        /* those of other nodes, or what is told and what is not yet */

        if (shm->fleet) {
            n += 2 * (NGX_PATIENT_GUARD_SLICES + 1);
        }
    }

    if (shm->fleet) {
        n += NGX_PATIENT_GUARD_FLEET_CELLS;
    }

    /* and what the largest lookup wants in reserve beside it */

    return n + ngx_patient_guard_shm_reserve(shm, limits, shm->nlimits,
                                             NGX_PATIENT_GUARD_PATIENTS);
}


/* cells that a lookup may add at the most */

static uint64_t
ngx_patient_guard_shm_reserve(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_limit_t *limits, ngx_uint_t nlimits,
    ngx_uint_t npatients)
{
    uint64_t    n;
    ngx_uint_t  i, keys;

    /* the accounts, a challenge, one passed, and a grant with its queue */

    keys = 1 + ngx_patient_guard_shm_keys(limits, nlimits);

    n = 1 + 1 + 2
        + keys * (1 + (shm->fleet ? NGX_PATIENT_GUARD_FLEET_ADDS : 0));

    if (shm->memory) {
        n += 1 + NGX_PATIENT_GUARD_MEMORY_HEAD + npatients
             + (shm->fleet ? 1 + npatients : 0);
    }

    for (i = 0; i < nlimits; i++) {
        n += 1 + (limits[i].factor ? NGX_PATIENT_GUARD_HABIT_CELLS : 0)
             + (ngx_patient_guard_keeps_set(&limits[i])
                  ? ngx_min(ngx_max(npatients, 1),
                            ngx_patient_guard_set_cap(limits[i].count))
                  : 1);
    }

    return n;
}


/* never fewer, whatever the limits are */

#define ngx_patient_guard_shm_plenty(nlimits, npatients)                     \
    (5 + NGX_PATIENT_GUARD_KEYS * (1 + NGX_PATIENT_GUARD_FLEET_ADDS)         \
     + NGX_PATIENT_GUARD_MEMORY_HEAD + 1 + 2 * (npatients)                   \
     + (nlimits) * (2 + NGX_PATIENT_GUARD_HABIT_CELLS + (npatients)))


/* by how many keys beside the account the limits count */

static ngx_uint_t
ngx_patient_guard_shm_keys(ngx_patient_guard_limit_t *limits,
    ngx_uint_t nlimits)
{
    ngx_uint_t  i, keys;

    keys = 0;

    for (i = 0; i < nlimits; i++) {
        keys = ngx_max(keys, limits[i].key);
    }

    return keys;
}


ngx_int_t
ngx_patient_guard_shm_count(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally)
{
    ngx_int_t                    rc, refuse;
    ngx_patient_guard_ref_t      members[NGX_PATIENT_GUARD_KEYS];
    ngx_patient_guard_weighed_t  weighed[NGX_PATIENT_GUARD_LIMITS];

    static uint32_t              sent[NGX_PATIENT_GUARD_KEYS];

    ngx_memzero(tally, sizeof(ngx_patient_guard_tally_t));
    tally->source = NGX_PATIENT_GUARD_FROM_LOCAL;

    lookup->learns = !shm->fleet;

    rc = ngx_patient_guard_shm_enter(shm, lookup, members);

    if (rc == NGX_OK) {
        ngx_patient_guard_challenge_date(shm->node, members[0], lookup);
        ngx_patient_guard_pass_by_proof(shm->node, members[0], lookup, tally);

        refuse = ngx_patient_guard_weigh(shm->node, members, lookup, tally,
                                         weighed);

        if (!refuse || lookup->exempt || lookup->forced) {
            ngx_patient_guard_charge(shm->node, members, lookup, tally,
                                     weighed, NGX_PATIENT_GUARD_SENT, sent);
        }

        ngx_patient_guard_shm_asked(shm, lookup, members, tally);
    }

    ngx_patient_guard_shm_leave(shm, lookup->now);

    return rc;
}


ngx_int_t
ngx_patient_guard_shm_enter(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_ref_t *members)
{
    ngx_uint_t                 i, keys;
    ngx_patient_guard_key_t   *key;
    ngx_patient_guard_node_t  *node;

    node = shm->node;
    keys = ngx_patient_guard_shm_keys(lookup->limits, lookup->nlimits);

    ngx_patient_guard_shm_lock(shm);

    ngx_memzero(members,
                NGX_PATIENT_GUARD_KEYS * sizeof(ngx_patient_guard_ref_t));

    for (i = keys; i > 0; i--) {
        key = &lookup->others[i - 1];
        members[i] = ngx_patient_guard_shm_member(shm, &key->current,
                                                  &key->previous);
    }

    members[0] = ngx_patient_guard_shm_member(shm, &lookup->account,
                                              &lookup->previous);

    /* mostly there is room for more than any lookup adds */

    if (node->zone.pool.nfree
        < ngx_patient_guard_shm_plenty(lookup->nlimits, lookup->npatients)
        && ngx_patient_guard_member_reserve(node,
                 ngx_patient_guard_shm_reserve(shm, lookup->limits,
                                               lookup->nlimits,
                                               lookup->npatients),
                 members, 1 + keys, lookup->now)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 1; i <= keys; i++) {
        key = &lookup->others[i - 1];

        if (members[i] == 0
            && (key->current.word[0] || key->current.word[1]))
        {
            members[i] = ngx_patient_guard_member_add(node, &key->current);
        }
    }

    lookup->added = (members[0] == 0);

    if (lookup->added) {
        members[0] = ngx_patient_guard_member_add(node, &lookup->account);
    }

    return NGX_OK;
}


void
ngx_patient_guard_shm_asked(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_ref_t *members,
    ngx_patient_guard_tally_t *tally)
{
    ngx_uint_t  i;

    if (!lookup->asks || !lookup->added || tally->passed
        || tally->challenged || tally->unproved || tally->grants_wait)
    {
        return;
    }

    for (i = 0; i < lookup->nlimits; i++) {
        if (lookup->limits[i].key == 0 && tally->rooms[i].total) {
            return;
        }
    }

    ngx_patient_guard_member_forget(shm->node, members[0]);
}


/* who is known already, now by the present alias, and used last; 0: nobody */

static ngx_patient_guard_ref_t
ngx_patient_guard_shm_member(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_account_t *alias, ngx_patient_guard_account_t *previous)
{
    ngx_patient_guard_ref_t    member;
    ngx_patient_guard_node_t  *node;

    node = shm->node;

    if (alias->word[0] == 0 && alias->word[1] == 0) {
        return 0;
    }

    member = ngx_patient_guard_member_find(node, alias);

    if (member == 0 && (previous->word[0] || previous->word[1])) {

        member = ngx_patient_guard_member_find(node, previous);

        if (member) {
            ngx_patient_guard_outbox_rename(node, member, alias);
            ngx_patient_guard_member_rename(node, member, alias);
        }
    }

    if (member) {
        ngx_patient_guard_member_used(node, member);
    }

    return member;
}


void
ngx_patient_guard_shm_lock(ngx_patient_guard_shm_t *shm)
{
    ngx_shmtx_lock(&shm->pool->mutex);

    if (shm->node->zone.saved) {
        ngx_patient_guard_recover(&shm->node->zone);
    }
}


/* who was forgotten starts anew: a line a minute */

void
ngx_patient_guard_shm_leave(ngx_patient_guard_shm_t *shm, uint64_t now)
{
    uint64_t  lost;

    lost = shm->node->ages.lost;

    ngx_shmtx_unlock(&shm->pool->mutex);

    if (lost == shm->lost || now / 60000 == shm->warned) {
        return;
    }

    ngx_log_error(NGX_LOG_WARN, shm->log, 0,
                  "patient guard: zone \"%V\" is full, the accounts idle "
                  "longest are forgotten before their windows are over: %uL "
                  "since the last such line, set \"zone\" to a larger size",
                  &shm->name, lost - shm->lost);

    shm->lost = lost;
    shm->warned = now / 60000;
}


static ngx_int_t
ngx_patient_guard_shm_store_count(ngx_patient_guard_store_t *store,
    ngx_patient_guard_op_t *op)
{
    return ngx_patient_guard_shm_count((ngx_patient_guard_shm_t *) store,
                                       &op->lookup, &op->tally);
}


static ngx_int_t
ngx_patient_guard_shm_charge(ngx_patient_guard_store_t *store,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally)
{
    return ngx_patient_guard_shm_count((ngx_patient_guard_shm_t *) store,
                                       lookup, tally);
}


static void
ngx_patient_guard_shm_forget(ngx_patient_guard_op_t *op)
{
    op->done = NULL;
}
