
#include "ngx_patient_guard_survey.h"
#include "ngx_patient_guard_challenge.h"
#include "ngx_patient_guard_queue.h"


static ngx_uint_t ngx_patient_guard_survey_account(
    ngx_patient_guard_shm_t *shm, ngx_patient_guard_ref_t member,
    uint64_t now, ngx_patient_guard_standing_t *standing);
static ngx_uint_t ngx_patient_guard_survey_limit(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t member, ngx_uint_t i, uint64_t now,
    ngx_patient_guard_standing_t *standing);
static void ngx_patient_guard_survey_insert(
    ngx_patient_guard_survey_t *survey,
    ngx_patient_guard_standing_t *standing);
static ngx_int_t ngx_patient_guard_survey_before(
    ngx_patient_guard_standing_t *one, ngx_patient_guard_standing_t *two);


/* what a limit does to who has reached it */

static ngx_patient_guard_verdict_e  ngx_patient_guard_survey_verdicts[] = {
    NGX_PATIENT_GUARD_ALLOW,
    NGX_PATIENT_GUARD_VERDICT_THROTTLE,
    NGX_PATIENT_GUARD_VERDICT_CHALLENGE,
    NGX_PATIENT_GUARD_VERDICT_DENY
};


void
ngx_patient_guard_survey(ngx_patient_guard_shm_t *shm, uint64_t now,
    ngx_patient_guard_survey_t *survey)
{
    ngx_uint_t                     n;
    ngx_patient_guard_ref_t        ref;
    ngx_patient_guard_node_t      *node;
    ngx_patient_guard_standing_t   standing;

    ngx_patient_guard_survey_zone(shm, survey);

    node = shm->node;

    ngx_patient_guard_shm_lock(shm);

    for (ref = node->ages.newest, n = 0;
         ref && n < NGX_PATIENT_GUARD_SURVEY_MOST;
         ref = ngx_patient_guard_member(node, ref)->older, n++)
    {
        if (ngx_patient_guard_survey_account(shm, ref, now, &standing)) {
            ngx_patient_guard_survey_insert(survey, &standing);
        }
    }

    ngx_patient_guard_shm_leave(shm, now);
}


/* without the lock: each is read whole, and none by another's account */

void
ngx_patient_guard_survey_zone(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_survey_t *survey)
{
    ngx_patient_guard_zone_t  *zone;
    ngx_patient_guard_node_t  *node;

    ngx_memzero(survey, sizeof(ngx_patient_guard_survey_t));

    node = shm->node;
    zone = &node->zone;

    survey->known = node->ages.members;
    survey->evicted = node->ages.evicted;
    survey->lost = node->ages.lost;
    survey->size = (zone->ncells - 1) * NGX_PATIENT_GUARD_CELL;
    survey->used = survey->size - (size_t) zone->pool.nfree
                                  * NGX_PATIENT_GUARD_CELL;
}


/* 0: it is another key, or nothing is counted of it */

static ngx_uint_t
ngx_patient_guard_survey_account(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t member, uint64_t now,
    ngx_patient_guard_standing_t *standing)
{
    uint64_t                     since;
    ngx_uint_t                   i, counted;
    ngx_patient_guard_node_t    *node;
    ngx_patient_guard_lookup_t   lookup;

    node = shm->node;
    counted = 0;

    ngx_memzero(standing, sizeof(ngx_patient_guard_standing_t));

    standing->account = ngx_patient_guard_member(node, member)->alias;
    standing->limit = shm->nlimits;

    for (i = 0; i < shm->nlimits; i++) {
        counted |= ngx_patient_guard_survey_limit(shm, member, i, now,
                                                  standing);
    }

    i = ngx_patient_guard_challenger(node, member, shm->limits, shm->nlimits,
                                     &since);

    if (since) {
        ngx_memzero(&lookup, sizeof(ngx_patient_guard_lookup_t));

        lookup.now = now;
        lookup.grants = shm->grants;

        standing->wait = ngx_patient_guard_grants_wait(node, member, &lookup);
        standing->verdict = standing->wait
                            ? NGX_PATIENT_GUARD_VERDICT_DENY
                            : NGX_PATIENT_GUARD_VERDICT_CHALLENGE;

        if (i != standing->limit && i < shm->nlimits) {
            standing->limit = i;
            standing->count = 0;
            standing->share = 0;
            (void) ngx_patient_guard_survey_limit(shm, member, i, now,
                                                  standing);
        }
    }

    return counted || since;
}


/* is anything counted of it?  Then the standing is the worse of the two */

static ngx_uint_t
ngx_patient_guard_survey_limit(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_ref_t member, ngx_uint_t i, uint64_t now,
    ngx_patient_guard_standing_t *standing)
{
    uint64_t                       wait, share;
    ngx_patient_guard_ref_t        ref;
    ngx_patient_guard_limit_t     *limit;
    ngx_patient_guard_queue_t     *queue;
    ngx_patient_guard_standing_t   other;

    limit = &shm->limits[i];

    if (limit->key
        || ngx_patient_guard_member_queue(shm->node, member, limit->id) == 0)
    {
        return 0;
    }

    ref = ngx_patient_guard_queue_now(shm->node, member, limit->id, now,
                                      limit->window);
    queue = ngx_patient_guard_queue(&shm->node->zone, ref);

    wait = ngx_patient_guard_queue_wait(shm->node, ref, 1, limit->count, now,
                                        limit->window);
    share = (uint64_t) queue->total * 1000 / limit->count;

    other = *standing;
    other.limit = i;
    other.count = queue->total;
    other.share = (uint32_t) ngx_min(share, 0xffffffff);
    other.wait = wait;
    other.verdict = wait ? ngx_patient_guard_survey_verdicts[limit->action]
                         : NGX_PATIENT_GUARD_ALLOW;

    if (standing->limit == shm->nlimits
        || standing->limit == i
        || ngx_patient_guard_survey_before(&other, standing) > 0)
    {
        other.verdict = ngx_max(other.verdict, standing->verdict);
        *standing = other;
    }

    return queue->total != 0;
}


static void
ngx_patient_guard_survey_insert(ngx_patient_guard_survey_t *survey,
    ngx_patient_guard_standing_t *standing)
{
    ngx_uint_t  i;

    if (survey->n < NGX_PATIENT_GUARD_SURVEY) {
        i = survey->n++;

    } else {
        i = survey->n - 1;

        if (ngx_patient_guard_survey_before(standing, &survey->accounts[i])
            <= 0)
        {
            return;
        }
    }

    for ( /* void */ ; i; i--) {

        if (ngx_patient_guard_survey_before(standing,
                                            &survey->accounts[i - 1])
            <= 0)
        {
            break;
        }

        survey->accounts[i] = survey->accounts[i - 1];
    }

    survey->accounts[i] = *standing;
}


/* above 0: the first is the worse */

static ngx_int_t
ngx_patient_guard_survey_before(ngx_patient_guard_standing_t *one,
    ngx_patient_guard_standing_t *two)
{
    if (one->verdict != two->verdict) {
        return (ngx_int_t) one->verdict - (ngx_int_t) two->verdict;
    }

    return (one->share > two->share) - (one->share < two->share);
}
