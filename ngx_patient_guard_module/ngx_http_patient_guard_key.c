
#include "ngx_http_patient_guard_key.h"
#include "ngx_http_patient_guard_value.h"


static void ngx_http_patient_guard_network(struct sockaddr *sockaddr,
    ngx_str_t *network);


ngx_int_t
ngx_http_patient_guard_key_add(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy, ngx_str_t *text, uint32_t *key)
{
    ngx_uint_t                         i;
    ngx_http_patient_guard_per_t      *per;
    ngx_http_compile_complex_value_t   ccv;

    for (i = 0; i < policy->npers; i++) {
        if (policy->pers[i].text.len == text->len
            && ngx_strncmp(policy->pers[i].text.data, text->data, text->len)
               == 0)
        {
            *key = i + 1;
            return NGX_OK;
        }
    }

    if (policy->npers == NGX_PATIENT_GUARD_KEYS - 1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "too many different \"per=\" in policy \"%V\", at "
                           "most %d can be given", &policy->name,
                           NGX_PATIENT_GUARD_KEYS - 1);
        return NGX_ERROR;
    }

    per = &policy->pers[policy->npers++];
    per->text = *text;

    *key = policy->npers;

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &per->text;
    ccv.complex_value = &per->value;

    return ngx_http_compile_complex_value(&ccv);
}


ngx_int_t
ngx_http_patient_guard_keys(ngx_http_request_t *r,
    ngx_http_patient_guard_ctx_t *ctx)
{
    ngx_str_t                         value;
    ngx_uint_t                        i;
    ngx_patient_guard_key_t          *other;
    ngx_patient_guard_lookup_t       *lookup;
    ngx_http_patient_guard_policy_t  *policy;

    policy = ctx->policy;
    lookup = &ctx->op.lookup;

    lookup->memory = policy->shm->memory;

    lookup->who.current = lookup->account.word[0] | !lookup->account.word[0];
    lookup->who.previous = lookup->previous.word[0];

    if (ngx_http_patient_guard_counts(policy, NGX_PATIENT_GUARD_ADDRESSES)) {

        ngx_http_patient_guard_network(r->connection->sockaddr, &value);

        lookup->address.current = ngx_patient_guard_address_alias(
                                                    &policy->keys[0], &value);
        if (policy->nkeys > 1) {
            lookup->address.previous = ngx_patient_guard_address_alias(
                                                    &policy->keys[1], &value);
        }
    }

    for (i = 0; i < policy->npers; i++) {

        if (ngx_http_patient_guard_value(r, &policy->pers[i].value, &value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (value.len == 0) {
            continue;
        }

        other = &lookup->others[i];

        ngx_patient_guard_other_alias(&policy->keys[0], &policy->pers[i].text,
                                      &value, &other->current);

        if (policy->nkeys > 1) {
            ngx_patient_guard_other_alias(&policy->keys[1],
                                          &policy->pers[i].text, &value,
                                          &other->previous);
        }
    }

    return NGX_OK;
}


/*
 * The bytes that tell where a client is: of IPv6 the first 64 bits, for the
 * others change by themselves (RFC 8981).
 */

static void
ngx_http_patient_guard_network(struct sockaddr *sockaddr, ngx_str_t *network)
{
#if (NGX_HAVE_INET6)
    u_char  *p;
#endif

    switch (sockaddr->sa_family) {

#if (NGX_HAVE_INET6)
    case AF_INET6:

        p = ((struct sockaddr_in6 *) sockaddr)->sin6_addr.s6_addr;

        if (IN6_IS_ADDR_V4MAPPED((struct in6_addr *) p)) {
            network->data = p + 12;
            network->len = 4;

        } else {
            network->data = p;
            network->len = 8;
        }

        break;
#endif

    case AF_INET:
        network->data = (u_char *)
                        &((struct sockaddr_in *) sockaddr)->sin_addr;
        network->len = 4;
        break;

    default: /* AF_UNIX */
        ngx_str_set(network, "unix:");
        break;
    }
}
