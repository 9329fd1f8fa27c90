
/*
 * How the accounts of this node stand, for the desk: those refused now, and
 * those nearest to a limit.  The accounts used last are looked at, a bounded
 * number of them.
 */


#ifndef _NGX_PATIENT_GUARD_SURVEY_H_INCLUDED_
#define _NGX_PATIENT_GUARD_SURVEY_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_shm.h"


#define NGX_PATIENT_GUARD_SURVEY       20      /* accounts told of */
#define NGX_PATIENT_GUARD_SURVEY_MOST  512     /* and looked at */


typedef struct {
    ngx_patient_guard_account_t  account;
    ngx_patient_guard_verdict_e  verdict;      /* of one more, by this node */
    ngx_uint_t                   limit;        /* that decides, or the one */
                                               /*   nearest to its count;  */
                                               /*   nlimits: none          */
    uint32_t                     count;
    uint32_t                     share;        /* of the limit, thousandths */
    uint64_t                     wait;         /* ms; 0: none */
} ngx_patient_guard_standing_t;


typedef struct {
    ngx_patient_guard_standing_t  accounts[NGX_PATIENT_GUARD_SURVEY];
    ngx_uint_t                    n;           /* refused first, then by */
                                               /*   their share          */
    uint64_t                      known;       /* accounts and other keys */
    uint64_t                      evicted;
    uint64_t                      lost;        /* of them, before their time */
    size_t                        size;        /* bytes for what is counted */
    size_t                        used;        /* of them */
} ngx_patient_guard_survey_t;


/* the zone alone, no accounts: whoever is scraped often asks no more */
void ngx_patient_guard_survey_zone(ngx_patient_guard_shm_t *shm,
    ngx_patient_guard_survey_t *survey);

/* takes the lock of the zone, and gives it back; now in ms */
void ngx_patient_guard_survey(ngx_patient_guard_shm_t *shm, uint64_t now,
    ngx_patient_guard_survey_t *survey);


#endif /* _NGX_PATIENT_GUARD_SURVEY_H_INCLUDED_ */
