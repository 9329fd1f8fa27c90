
#include "ngx_patient_guard_watchman.h"


#define NGX_PATIENT_GUARD_WATCHMAN_WORDS   5   /* of +switch-master */
#define NGX_PATIENT_GUARD_WATCHMAN_REASON  256


static void ngx_patient_guard_watchman_moved(void *data, ngx_addr_t *addrs,
    ngx_uint_t naddrs);
static void ngx_patient_guard_watchman_late(ngx_event_t *ev);
static void ngx_patient_guard_watchman_rested(
    ngx_patient_guard_link_t *link);
static void ngx_patient_guard_watchman_say(
    ngx_patient_guard_watchman_t *watchman);
static ngx_int_t ngx_patient_guard_watchman_replied(
    ngx_patient_guard_link_t *link, void *data,
    ngx_patient_guard_reply_t *reply);
static ngx_int_t ngx_patient_guard_watchman_pushed(
    ngx_patient_guard_link_t *link, ngx_patient_guard_reply_t *reply);
static ngx_int_t ngx_patient_guard_watchman_tell(
    ngx_patient_guard_watchman_t *watchman, ngx_str_t *host,
    ngx_str_t *port);
static void ngx_patient_guard_watchman_ended(ngx_patient_guard_link_t *link,
    ngx_patient_guard_link_end_e how, ngx_err_t err, const char *reason);
static void ngx_patient_guard_watchman_fail(
    ngx_patient_guard_watchman_t *watchman, const char *reason,
    ngx_uint_t refused);


ngx_int_t
ngx_patient_guard_watchman_init(ngx_patient_guard_watchman_t *watchman,
    ngx_patient_guard_finder_conf_t *finder,
    ngx_patient_guard_target_t *target, ngx_cycle_t *cycle)
{
    ngx_patient_guard_link_conf_t  *conf;

    watchman->master = &finder->master;
    watchman->timeout = finder->peer.timeout;
    watchman->log = cycle->log;

    watchman->late.handler = ngx_patient_guard_watchman_late;
    watchman->late.data = watchman;
    watchman->late.log = cycle->log;
    watchman->late.cancelable = 1;

    conf = &watchman->conf;

    *conf = finder->peer.link;

    conf->greeting = finder->greeting;
    conf->replied = ngx_patient_guard_watchman_replied;
    conf->pushed = ngx_patient_guard_watchman_pushed;
    conf->rested = ngx_patient_guard_watchman_rested;
    conf->ended = ngx_patient_guard_watchman_ended;

    if (ngx_patient_guard_tls_named(&conf->tls, &target->host, cycle->pool)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_patient_guard_link_init(&watchman->link, conf, cycle->pool,
                                cycle->log);

    if (ngx_patient_guard_link_aim(&watchman->link, target) != NGX_OK) {
        return NGX_ERROR;
    }

    watchman->name.handler = ngx_patient_guard_watchman_moved;
    watchman->name.data = watchman;

    (void) ngx_patient_guard_name_follow(&watchman->name, &finder->resolve,
                                         &target->host, target->port,
                                         cycle->log);

    return NGX_OK;
}


void
ngx_patient_guard_watchman_destroy(ngx_patient_guard_watchman_t *watchman)
{
    ngx_patient_guard_watchman_hangup(watchman);

    ngx_patient_guard_name_stop(&watchman->name);
    ngx_patient_guard_link_destroy(&watchman->link);
}


/* for the next time that it is asked */

static void
ngx_patient_guard_watchman_moved(void *data, ngx_addr_t *addrs,
    ngx_uint_t naddrs)
{
    ngx_patient_guard_watchman_t  *watchman = data;

    ngx_patient_guard_target_t  target;

    if (watchman->link.state != NGX_PATIENT_GUARD_LINK_DOWN) {

        /* it is being used; the name is asked again before long */

        return;
    }

    target = watchman->link.target;
    target.addrs = addrs;
    target.naddrs = naddrs;

    (void) ngx_patient_guard_link_aim(&watchman->link, &target);
}


void
ngx_patient_guard_watchman_ask(ngx_patient_guard_watchman_t *watchman)
{
    watchman->told = 0;

    ngx_add_timer(&watchman->late, watchman->timeout);

    (void) ngx_patient_guard_link_connect(&watchman->link);
}


void
ngx_patient_guard_watchman_hangup(ngx_patient_guard_watchman_t *watchman)
{
    ngx_queue_t                failed;
    ngx_patient_guard_link_t  *link = &watchman->link;

    if (watchman->late.timer_set) {
        ngx_del_timer(&watchman->late);
    }

    ngx_patient_guard_link_close(link);

    ngx_queue_init(&failed);
    ngx_patient_guard_pipeline_break(&link->pipeline, &failed);

    while (ngx_patient_guard_pipeline_failed(&link->pipeline, &failed)) {
        /* void */
    }

    watchman->told = 0;
}


static void
ngx_patient_guard_watchman_late(ngx_event_t *ev)
{
    ngx_patient_guard_watchman_fail(ev->data, "no reply in time", 0);
}


/* greeted, or all is answered */

static void
ngx_patient_guard_watchman_rested(ngx_patient_guard_link_t *link)
{
    ngx_patient_guard_watchman_t  *watchman;

    watchman = (ngx_patient_guard_watchman_t *) link;

    if (ngx_exiting || ngx_terminate) {
        ngx_patient_guard_watchman_hangup(watchman);

    } else if (!watchman->told) {
        ngx_patient_guard_watchman_say(watchman);

    } else {
        link->connection->idle = 1;
    }
}


static void
ngx_patient_guard_watchman_say(ngx_patient_guard_watchman_t *watchman)
{
    u_char                    *p;
    ngx_str_t                 *master;
    ngx_patient_guard_link_t  *link = &watchman->link;

    master = watchman->master;

    if (ngx_patient_guard_pipeline_room(&link->pipeline,
                             NGX_PATIENT_GUARD_RESP_HEAD
                             + 2 * ngx_patient_guard_resp_size(23)
                             + ngx_patient_guard_resp_size(master->len))
        != NGX_OK)
    {
        ngx_patient_guard_watchman_fail(watchman, "out of memory", 0);
        return;
    }

    p = link->pipeline.last;

    p = ngx_patient_guard_resp_command(p, 3);
    p = ngx_patient_guard_resp_arg(p, "SENTINEL", 8);
    p = ngx_patient_guard_resp_arg(p, "GET-MASTER-ADDR-BY-NAME", 23);
    p = ngx_patient_guard_resp_arg(p, master->data, master->len);

    (void) ngx_patient_guard_pipeline_push(&link->pipeline, p, 0,
                                       NGX_PATIENT_GUARD_REPLY_TREE, master);

    if (ngx_patient_guard_pipeline_room(&link->pipeline,
                                        NGX_PATIENT_GUARD_RESP_HEAD
                                        + 2 * ngx_patient_guard_resp_size(14))
        != NGX_OK)
    {
        ngx_patient_guard_watchman_fail(watchman, "out of memory", 0);
        return;
    }

    p = link->pipeline.last;

    p = ngx_patient_guard_resp_command(p, 2);
    p = ngx_patient_guard_resp_arg(p, "SUBSCRIBE", 9);
    p = ngx_patient_guard_resp_arg(p, "+switch-master", 14);

    (void) ngx_patient_guard_pipeline_push(&link->pipeline, p, 0,
                                           NGX_PATIENT_GUARD_REPLY_TREE,
                                           NULL);

    ngx_patient_guard_link_sent(link);
}


/* data is the master's name where that was asked for, else it subscribed */

static ngx_int_t
ngx_patient_guard_watchman_replied(ngx_patient_guard_link_t *link,
    void *data, ngx_patient_guard_reply_t *reply)
{
    ngx_patient_guard_item_t      *item;
    ngx_patient_guard_watchman_t  *watchman;

    watchman = (ngx_patient_guard_watchman_t *) link;

    if (data == NULL) {

        /* subscribed, or not allowed to: from now on it may be quiet */

        watchman->told = 1;
        ngx_del_timer(&watchman->late);

        return NGX_OK;
    }

    if (reply->type == NGX_PATIENT_GUARD_REPLY_NIL) {
        ngx_patient_guard_watchman_fail(watchman, "it knows no such master",
                                        0);
        return NGX_ERROR;
    }

    if (reply->type != NGX_PATIENT_GUARD_REPLY_ARRAY) {
        ngx_patient_guard_watchman_fail(watchman,
                             ngx_patient_guard_resp_printable(&reply->text),
                             ngx_patient_guard_resp_refused(reply));
        return NGX_ERROR;
    }

    item = reply->items;

    if (reply->nitems != 3) {
        ngx_patient_guard_watchman_fail(watchman, "invalid reply", 0);
        return NGX_ERROR;
    }

    return ngx_patient_guard_watchman_tell(watchman, &item[1].text,
                                           &item[2].text);
}


/* "message", "+switch-master", "NAME old-ip old-port ip port" */

static ngx_int_t
ngx_patient_guard_watchman_pushed(ngx_patient_guard_link_t *link,
    ngx_patient_guard_reply_t *reply)
{
    u_char                        *p, *last, *space;
    ngx_str_t                      word[NGX_PATIENT_GUARD_WATCHMAN_WORDS];
    ngx_uint_t                     n;
    ngx_patient_guard_watchman_t  *watchman;

    watchman = (ngx_patient_guard_watchman_t *) link;

    if (!watchman->told || reply->type != NGX_PATIENT_GUARD_REPLY_ARRAY
        || reply->nitems != 4)
    {
        ngx_patient_guard_watchman_fail(watchman, "unsolicited reply", 0);
        return NGX_ERROR;
    }

    p = reply->items[3].text.data;
    last = p + reply->items[3].text.len;

    for (n = 0; n < NGX_PATIENT_GUARD_WATCHMAN_WORDS; n++) {
        space = ngx_strlchr(p, last, ' ');
        space = space ? space : last;

        word[n].data = p;
        word[n].len = space - p;

        p = space < last ? space + 1 : last;
    }

    if (word[0].len != watchman->master->len
        || ngx_strncmp(word[0].data, watchman->master->data, word[0].len)
           != 0)
    {
        return NGX_OK;
    }

    return ngx_patient_guard_watchman_tell(watchman, &word[3], &word[4]);
}


/* NGX_ERROR: it is closed now */

static ngx_int_t
ngx_patient_guard_watchman_tell(ngx_patient_guard_watchman_t *watchman,
    ngx_str_t *host, ngx_str_t *port)
{
    ngx_int_t  number;

    number = ngx_atoi(port->data, port->len);

    if (host->len == 0 || !ngx_patient_guard_resp_host(host)
        || number < 1 || number > 65535)
    {
        ngx_patient_guard_watchman_fail(watchman, "invalid reply", 0);
        return NGX_ERROR;
    }

    watchman->tells(watchman->data, host, number);

    return NGX_OK;
}


static void
ngx_patient_guard_watchman_ended(ngx_patient_guard_link_t *link,
    ngx_patient_guard_link_end_e how, ngx_err_t err, const char *reason)
{
    ngx_patient_guard_watchman_fail((ngx_patient_guard_watchman_t *) link,
                                    err ? strerror(err) : reason,
                                    how == NGX_PATIENT_GUARD_LINK_REFUSED);
}


static void
ngx_patient_guard_watchman_fail(ngx_patient_guard_watchman_t *watchman,
    const char *reason, ngx_uint_t refused)
{
    u_char  text[NGX_PATIENT_GUARD_WATCHMAN_REASON];

    /* it may be kept where the connection is */

    (void) ngx_cpystrn(text, (u_char *) reason, sizeof(text));

    ngx_patient_guard_watchman_hangup(watchman);

    watchman->fails(watchman->data, (const char *) text, refused);
}
