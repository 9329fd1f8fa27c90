
/*
 * What a call of ngx_patient_guard_count.lua replies.  COUNT: to a tally.
 * SYNC: to the news of an account.  Replies are told in the script.  No I/O.
 */


#ifndef _NGX_PATIENT_GUARD_REPLY_H_INCLUDED_
#define _NGX_PATIENT_GUARD_REPLY_H_INCLUDED_


#include "ngx_patient_guard.h"
#include "ngx_patient_guard_image.h"


/*
 * NGX_ERROR if the reply is not that to this call: just as long as it has to
 * be, and with numbers that go together.
 * NGX_DECLINED: nothing was done, for a later call of the session was there
 * before.
 */
ngx_int_t ngx_patient_guard_reply_tally(ngx_str_t *text, uint64_t nonce,
    ngx_patient_guard_lookup_t *lookup, ngx_patient_guard_tally_t *tally);

/* the same, with windows behind; the sets of the news lie in the text */
ngx_int_t ngx_patient_guard_reply_news(ngx_str_t *text, uint64_t nonce,
    ngx_patient_guard_parcel_t *parcel, ngx_patient_guard_news_t *news);


#endif /* _NGX_PATIENT_GUARD_REPLY_H_INCLUDED_ */
