
#include "ngx_http_patient_guard_limit.h"
#include "ngx_http_patient_guard_key.h"
#include "ngx_http_patient_guard_value.h"


#define NGX_HTTP_PATIENT_GUARD_NAME_MAX  64

/* of "baseline=", in thousandths */
#define NGX_HTTP_PATIENT_GUARD_FACTOR_MIN  100
#define NGX_HTTP_PATIENT_GUARD_FACTOR_MAX  100000


/* a "limit" while it is read */

typedef struct {
    ngx_patient_guard_limit_t  limit;
    ngx_str_t                  count;
    ngx_str_t                  name;          /* name=, if given */
    ngx_str_t                  otherwise;     /* default=, if given */
    ngx_str_t                  per;           /* per=, if given */
    ngx_str_t                  baseline;      /* baseline=, if given */
    ngx_uint_t                 acts;          /* actions given */
} ngx_http_patient_guard_draft_t;


static char *ngx_http_patient_guard_limit_measure(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_patient_guard_draft_t *draft);
static char *ngx_http_patient_guard_limit_parameter(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_patient_guard_draft_t *draft);
static char *ngx_http_patient_guard_limit_baseline(ngx_conf_t *cf,
    ngx_http_patient_guard_draft_t *draft);
static ngx_int_t ngx_http_patient_guard_limit_call(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_patient_guard_draft_t *draft);
static char *ngx_http_patient_guard_limit_count(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy,
    ngx_http_patient_guard_draft_t *draft);
static char *ngx_http_patient_guard_limit_name(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy,
    ngx_http_patient_guard_draft_t *draft);
static ngx_int_t ngx_http_patient_guard_find_word(ngx_str_t *words,
    ngx_str_t *word);


char *
ngx_http_patient_guard_limit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_patient_guard_policy_t  *policy = conf;

    char                            *rv;
    ngx_str_t                       *value;
    ngx_uint_t                       i;
    ngx_http_patient_guard_draft_t   draft;

    if (policy->nlimits == NGX_PATIENT_GUARD_LIMITS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "too many \"limit\" directives in policy \"%V\", "
                           "at most %d can be given",
                           &policy->name, NGX_PATIENT_GUARD_LIMITS);
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    ngx_memzero(&draft, sizeof(ngx_http_patient_guard_draft_t));

    rv = ngx_http_patient_guard_limit_measure(cf, &value[1], &draft);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        rv = ngx_http_patient_guard_limit_parameter(cf, &value[i], &draft);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (draft.acts != 1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "limit \"%V\" wants one action: \"log\", "
                           "\"throttle\", \"challenge\" or \"deny\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    if (draft.per.len == 0
        && draft.limit.signal == NGX_PATIENT_GUARD_ACCOUNTS)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "a limit on \"accounts\" wants \"per=\", such as "
                           "\"per=$remote_addr\": an account is one");
        return NGX_CONF_ERROR;
    }

    if (draft.per.len
        && ngx_http_patient_guard_key_add(cf, policy, &draft.per,
                                          &draft.limit.key)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    rv = ngx_http_patient_guard_limit_baseline(cf, &draft);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (ngx_http_patient_guard_limit_call(cf, &value[1], &draft) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    rv = ngx_http_patient_guard_limit_name(cf, policy, &draft);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    rv = ngx_http_patient_guard_limit_count(cf, policy, &draft);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    policy->limits[policy->nlimits++] = draft.limit;
    policy->signals |= (ngx_uint_t) 1 << draft.limit.signal;

    return NGX_CONF_OK;
}


/* factor[:floor] */

static char *
ngx_http_patient_guard_limit_baseline(ngx_conf_t *cf,
    ngx_http_patient_guard_draft_t *draft)
{
    u_char     *colon, *last;
    ngx_int_t   factor;
    ngx_str_t   floor;

    if (draft->baseline.len == 0) {
        return NGX_CONF_OK;
    }

    if (draft->per.len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"baseline=\" of \"limit\" is by what is usual "
                           "for an account, and does not go with \"per=\"");
        return NGX_CONF_ERROR;
    }

    last = draft->baseline.data + draft->baseline.len;
    colon = ngx_strlchr(draft->baseline.data, last, ':');

    factor = ngx_atofp(draft->baseline.data,
                       (colon ? colon : last) - draft->baseline.data, 3);

    draft->limit.floor = 1;

    if (colon) {
        floor.data = colon + 1;
        floor.len = last - colon - 1;
    }

    if (factor == NGX_ERROR
        || factor < NGX_HTTP_PATIENT_GUARD_FACTOR_MIN
        || factor > NGX_HTTP_PATIENT_GUARD_FACTOR_MAX
        || (colon && ngx_http_patient_guard_number(&floor,
                                                   &draft->limit.floor)
                     != NGX_OK))
    {
        return ngx_http_patient_guard_invalid(cf, "baseline",
                                              &draft->baseline,
                          "factor[:floor] such as \"3:20\", with a factor "
                          "from 0.1 to 100");
    }

    draft->limit.factor = factor;

    return NGX_CONF_OK;
}


/* its name: signal/window[/per] as written, without the count, if not given */

static ngx_int_t
ngx_http_patient_guard_limit_call(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_patient_guard_draft_t *draft)
{
    u_char     *p, *equals;
    size_t      i;
    ngx_str_t  *name;

    name = &draft->limit.name;

    if (draft->name.len) {
        *name = draft->name;
        return NGX_OK;
    }

    equals = ngx_strlchr(value->data, value->data + value->len, '=');

    name->data = ngx_pnalloc(cf->pool, value->len + 1 + draft->per.len);
    if (name->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(name->data, "%*s%V%s", equals - value->data, value->data,
                    &draft->limit.state, draft->per.len ? "/" : "");

    for (i = 0; i < draft->per.len; i++) {
        if (draft->per.data[i] > ' '
            && ngx_strchr("${}", draft->per.data[i]) == NULL)
        {
            *p++ = draft->per.data[i];
        }
    }

    name->len = p - name->data;

    return NGX_OK;
}


/* signal=count/window; leaves "/window", as written, in limit.state */

static char *
ngx_http_patient_guard_limit_measure(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_patient_guard_draft_t *draft)
{
    u_char     *equals, *slash, *last;
    ngx_int_t   word;
    ngx_str_t   signal, window;

    last = value->data + value->len;

    equals = ngx_strlchr(value->data, last, '=');
    slash = last;

    while (equals && slash > equals && *--slash != '/') { /* void */ }

    if (equals == NULL || slash == equals) {
        return ngx_http_patient_guard_invalid(cf, "limit", value,
                         "signal=count/window such as \"patients=600/1d\"");
    }

    signal.data = value->data;
    signal.len = equals - value->data;

    draft->count.data = equals + 1;
    draft->count.len = slash - equals - 1;

    window.data = slash + 1;
    window.len = last - slash - 1;

    draft->limit.state.data = slash;
    draft->limit.state.len = last - slash;

    word = ngx_http_patient_guard_find_word(ngx_patient_guard_signal_names,
                                            &signal);
    if (word == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown signal \"%V\" in \"limit\", expected "
                           "\"lookups\", \"patients\", \"new_patients\", "
                           "\"misses\", \"addresses\" or \"accounts\"",
                           &signal);
        return NGX_CONF_ERROR;
    }

    draft->limit.signal = word;

    if (ngx_strlchr(window.data, last, ' ')
        || ngx_http_patient_guard_window(&window, &draft->limit.window)
           != NGX_OK)
    {
        return ngx_http_patient_guard_invalid(cf, "limit", value,
                             "a window from \"10s\" to \"90d\" behind the /");
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_patient_guard_limit_parameter(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_patient_guard_draft_t *draft)
{
    u_char     *p;
    ngx_int_t   word;
    ngx_str_t  *target;

    word = ngx_http_patient_guard_find_word(ngx_patient_guard_action_names,
                                            value);
    if (word != NGX_ERROR) {
        draft->limit.action = word;
        draft->acts++;
        return NGX_CONF_OK;
    }

    if (value->len > 5 && ngx_strncmp(value->data, "name=", 5) == 0) {
        target = &draft->name;
        p = value->data + 5;

    } else if (value->len > 8 && ngx_strncmp(value->data, "default=", 8) == 0)
    {
        target = &draft->otherwise;
        p = value->data + 8;

    } else if (value->len > 4 && ngx_strncmp(value->data, "per=", 4) == 0) {
        target = &draft->per;
        p = value->data + 4;

    } else if (value->len > 9
               && ngx_strncmp(value->data, "baseline=", 9) == 0)
    {
        target = &draft->baseline;
        p = value->data + 9;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown parameter \"%V\" of \"limit\", expected "
                           "\"log\", \"throttle\", \"challenge\", \"deny\", "
                           "\"per=\", \"baseline=\", \"name=\" or "
                           "\"default=\"", value);
        return NGX_CONF_ERROR;
    }

    if (target->len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "parameter \"%V\" of \"limit\" is given twice",
                           value);
        return NGX_CONF_ERROR;
    }

    target->data = p;
    target->len = value->data + value->len - p;

    return NGX_CONF_OK;
}


static char *
ngx_http_patient_guard_limit_count(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy,
    ngx_http_patient_guard_draft_t *draft)
{
    ngx_http_compile_complex_value_t   ccv;
    ngx_http_patient_guard_count_t    *count;

    if (ngx_strlchr(draft->count.data, draft->count.data + draft->count.len,
                    '$')
        == NULL)
    {
        if (draft->otherwise.len) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "limit \"%V\" has a number for its count: "
                               "\"default=\" goes with a variable",
                               &draft->limit.name);
            return NGX_CONF_ERROR;
        }

        if (ngx_http_patient_guard_number(&draft->count, &draft->limit.count)
            != NGX_OK)
        {
            return ngx_http_patient_guard_invalid(cf, "limit", &draft->count,
                              "a count from 1 to 4294967295, or a variable");
        }

        return NGX_CONF_OK;
    }

    if (draft->otherwise.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "limit \"%V\" takes its count from a variable: "
                           "\"default=\" is required", &draft->limit.name);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_patient_guard_number(&draft->otherwise, &draft->limit.count)
        != NGX_OK)
    {
        return ngx_http_patient_guard_invalid(cf, "default",
                                              &draft->otherwise,
                                              "a count from 1 to 4294967295");
    }

    if (policy->counts == NULL) {
        policy->counts = ngx_array_create(cf->pool, 2,
                                      sizeof(ngx_http_patient_guard_count_t));
        if (policy->counts == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    count = ngx_array_push(policy->counts);
    if (count == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(count, sizeof(ngx_http_patient_guard_count_t));

    policy->shm->variable |= (uint32_t) 1 << policy->nlimits;

    count->limit = policy->nlimits;
    count->otherwise = draft->limit.count;

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &draft->count;
    ccv.complex_value = &count->value;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* the name, and that of the state: what is counted depends on no more */

static char *
ngx_http_patient_guard_limit_name(ngx_conf_t *cf,
    ngx_http_patient_guard_policy_t *policy,
    ngx_http_patient_guard_draft_t *draft)
{
    u_char                     *p, ch;
    size_t                      i;
    ngx_str_t                  *signal;
    ngx_patient_guard_limit_t  *limit, *other;

    limit = &draft->limit;

    for (i = 0; i < limit->name.len; i++) {
        ch = limit->name.data[i];

        if (i >= NGX_HTTP_PATIENT_GUARD_NAME_MAX
            || !((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
                 || (ch >= '0' && ch <= '9')
                 || ngx_strchr("_-.:/", ch)))
        {
            return ngx_http_patient_guard_invalid(cf, "name", &limit->name,
                           "at most 64 letters, digits and any of \"_-.:/\"");
        }
    }

    signal = &ngx_patient_guard_signal_names[limit->signal];

    p = ngx_pnalloc(cf->pool, signal->len + NGX_INT64_LEN + 3
                              + draft->name.len + draft->per.len);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    limit->state.data = p;

    p = ngx_sprintf(p, "%V/%uL", signal, limit->window / 1000);

    if (draft->name.len) {
        p = ngx_sprintf(p, "/%V", &draft->name);
    }

    if (draft->per.len) {
        p = ngx_sprintf(p, "@%V", &draft->per);
    }

    limit->state.len = p - limit->state.data;
    limit->id = ngx_crc32_long(limit->state.data, limit->state.len) | 0x100;

    for (i = 0; i < policy->nlimits; i++) {
        other = &policy->limits[i];

        if (other->name.len == limit->name.len
            && ngx_strncmp(other->name.data, limit->name.data,
                           limit->name.len)
               == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "two limits of policy \"%V\" bear the name "
                               "\"%V\", give one of them a \"name=\"",
                               &policy->name, &limit->name);
            return NGX_CONF_ERROR;
        }

        if (other->id == limit->id) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "limits \"%V\" and \"%V\" of policy \"%V\" "
                               "would be counted as one, give one of them "
                               "another \"name=\"",
                               &other->name, &limit->name, &policy->name);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_patient_guard_find_word(ngx_str_t *words, ngx_str_t *word)
{
    ngx_int_t  i;

    for (i = 0; words[i].len; i++) {
        if (words[i].len == word->len
            && ngx_strncmp(words[i].data, word->data, word->len) == 0)
        {
            return i;
        }
    }

    return NGX_ERROR;
}


ngx_int_t
ngx_http_patient_guard_limits(ngx_http_request_t *r,
    ngx_http_patient_guard_policy_t *policy,
    ngx_patient_guard_lookup_t *lookup)
{
    size_t                           size;
    uint32_t                         number;
    ngx_str_t                        value;
    ngx_uint_t                       i;
    ngx_patient_guard_limit_t       *limit;
    ngx_http_patient_guard_count_t  *count;

    lookup->limits = policy->limits;
    lookup->nlimits = policy->nlimits;
    lookup->grants = &policy->grants;

    if (policy->counts == NULL) {
        return NGX_OK;
    }

    size = policy->nlimits * sizeof(ngx_patient_guard_limit_t);

    lookup->limits = ngx_palloc(r->pool, size);
    if (lookup->limits == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(lookup->limits, policy->limits, size);

    count = policy->counts->elts;

    for (i = 0; i < policy->counts->nelts; i++) {

        if (ngx_http_patient_guard_value(r, &count[i].value, &value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (ngx_http_patient_guard_number(&value, &number) != NGX_OK) {
            number = count[i].otherwise;
        }

        limit = &lookup->limits[count[i].limit];

        limit->count = ngx_patient_guard_keeps_set(limit)
                       ? ngx_min(number, ngx_max(policy->shm->most,
                                                 count[i].otherwise))
                       : number;
    }

    return NGX_OK;
}
