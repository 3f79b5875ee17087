#include "source/postgres/conninfo.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

static int clear_env(void **state)
{
    static const char *const names[] = {"PGHOST",     "PGPORT",    "PGUSER",    "PGDATABASE",
                                        "PGPASSWORD", "PGSERVICE", "PGSSLMODE", "PGOPTIONS"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unsetenv(names[i]);
    return 0;
}

/* What is shown of a connection string, and the database's name. */
static void test_masked(void **state)
{
    static const struct {
        const char *spec, *masked, *dbname;
    } cases[] = {
        {"postgresql://u:s3cret@db.example.com/shop", "postgresql://u:***@db.example.com/shop",
         "shop"},
        {"postgres://u@db.example.com:6000/shop?sslpassword=s3cret",
         "postgresql://u@db.example.com:6000/shop", "shop"},
        {"host=db.example.com user=u password='s3c ret' dbname=shop",
         "postgresql://u:***@db.example.com/shop", "shop"},
        {"postgresql:///shop?host=/run/pg&user=u&password=s3cret",
         "postgresql://u:***@/shop?host=/run/pg", "shop"},
        {"host=h user=u%40", "postgresql://u%2540@h/u%2540", "u%40"},
        {"postgresql://u%40x:s3cret@h/a%20b", "postgresql://u%40x:***@h/a%20b", "a b"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(conninfo_release) ConnInfo ci = {0};
        Error e = ERROR_INIT;
        assert_int_equal(conninfo_parse(cases[i].spec, &ci, &e), 0);
        assert_string_equal(ci.masked, cases[i].masked);
        assert_string_equal(ci.dbname, cases[i].dbname);
    }
}

/* Passwords with characters that should have been escaped must not end up in anything shown. */
static void test_malformed(void **state)
{
    static const char *const specs[] = {
        "postgresql://u:s3c@ret@h/shop",
        "postgresql://u:s3c/ret@h/shop",
        "postgresql://u:12/s3cret@h/shop",
        "postgresql://u:s3cret:x@h:y/shop",
        "postgresql://u:s3c%zzret@h/shop",
        "host=h s3cret=1",
        "host=h port=s3cret",
    };
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        ConnInfo ci = {0};
        Error e = ERROR_INIT;
        assert_int_equal(conninfo_parse(specs[i], &ci, &e), -EINVAL);
        assert_int_equal(e.exit_code, BK_EXIT_USAGE);
        assert_non_null(e.hint);
        assert_null(strstr(e.message, "ret"));
        assert_null(strstr(e.hint, "s3c"));
        error_release(&e);
    }
}

static void test_environment(void **state)
{
    _cleanup_(conninfo_release) ConnInfo ci = {0};
    Error e = ERROR_INIT;
    setenv("PGHOST", "envhost", 1);
    setenv("PGDATABASE", "envdb", 1);
    setenv("PGUSER", "envuser", 1);
    assert_int_equal(conninfo_parse(NULL, &ci, &e), 0);
    assert_string_equal(ci.masked, "postgresql://envuser@envhost/envdb");
    clear_env(state);
}

static const char *lookup(char **env, const char *name)
{
    for (; *env; env++)
        if (strncmp(*env, name, strlen(name)) == 0 && (*env)[strlen(name)] == '=')
            return *env + strlen(name) + 1;
    return NULL;
}

/* Children get the password by variable, what has no variable by keyword, and never both. */
static void test_child_env(void **state)
{
    _cleanup_(conninfo_release) ConnInfo ci = {0};
    _cleanup_(buf_release) Buf keywords = BUF_INIT;
    Error e = ERROR_INIT;
    char **env = NULL;
    setenv("PGAPPNAME", "leaks", 1);
    assert_int_equal(conninfo_parse("host=h port=6000 user=u password=s3cret dbname='a\\'b'"
                                    " keepalives=0 options='-c x=1'",
                                    &ci, &e),
                     0);
    assert_int_equal(conninfo_env(&ci, "-c y=2", &env, &e), 0);
    assert_string_equal(lookup(env, "PGHOST"), "h");
    assert_string_equal(lookup(env, "PGPORT"), "6000");
    assert_string_equal(lookup(env, "PGUSER"), "u");
    assert_string_equal(lookup(env, "PGPASSWORD"), "s3cret");
    assert_string_equal(lookup(env, "PGDATABASE"), "a'b");
    assert_string_equal(lookup(env, "PGOPTIONS"), "-c x=1 -c y=2");
    assert_string_equal(lookup(env, "PGTZ"), "UTC");
    assert_string_equal(lookup(env, "PGDATESTYLE"), "ISO");
    assert_non_null(lookup(env, "PATH"));
    conninfo_env_free(env);
    assert_int_equal(conninfo_keywords(&ci, true, &keywords, &e), 0);
    assert_string_equal(buf_cstr(&keywords), "dbname='a\\'b' keepalives='0'");
    unsetenv("PGAPPNAME");
}

/* Encryption and addresses are libpq's business: all that concerns them reaches the children. */
static void test_child_env_of_hosted_services(void **state)
{
    static const struct {
        const char *name, *value;
    } expected[] = {
        {"PGHOST", "db.example.com,10.0.0.7"},
        {"PGHOSTADDR", "2001:db8::1,10.0.0.7"},
        {"PGSSLMODE", "verify-full"},
        {"PGSSLROOTCERT", "/etc/ca.pem"},
        {"PGSSLCERT", "/etc/client.pem"},
        {"PGSSLKEY", "/etc/client.key"},
        {"PGSSLMINPROTOCOLVERSION", "TLSv1.3"},
        {"PGGSSENCMODE", "disable"},
        {"PGCHANNELBINDING", "require"},
        {"PGTARGETSESSIONATTRS", "read-write"},
        {"PGCONNECT_TIMEOUT", "7"},
    };
    _cleanup_(conninfo_release) ConnInfo ci = {0};
    Error e = ERROR_INIT;
    char **env = NULL;
    assert_int_equal(
        conninfo_parse("host=db.example.com,10.0.0.7 hostaddr=2001:db8::1,10.0.0.7 user=u"
                       " sslmode=verify-full sslrootcert=/etc/ca.pem sslcert=/etc/client.pem"
                       " sslkey=/etc/client.key ssl_min_protocol_version=TLSv1.3"
                       " gssencmode=disable channel_binding=require"
                       " target_session_attrs=read-write connect_timeout=7",
                       &ci, &e),
        0);
    assert_int_equal(conninfo_env(&ci, NULL, &env, &e), 0);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        assert_string_equal(lookup(env, expected[i].name), expected[i].value);
    conninfo_env_free(env);
}

/* What connects to nothing gets no password, and nothing gets the variables that hold a SOURCE. */
static void test_env_without_connection(void **state)
{
    static const char *const kept_back[] = {"DATABASE_URL", "SUPABASE_DB_URL", "PGPASSWORD",
                                            "PGHOST"};
    _cleanup_(conninfo_release) ConnInfo ci = {0};
    Error e = ERROR_INIT;
    char **env = NULL;
    for (size_t i = 0; i < sizeof(kept_back) / sizeof(kept_back[0]); i++)
        setenv(kept_back[i], "postgres://u:s3cret@h/db", 1);
    setenv("DATABASE_URL_NOTE", "kept", 1);
    assert_int_equal(conninfo_env(NULL, NULL, &env, &e), 0);
    for (size_t i = 0; i < sizeof(kept_back) / sizeof(kept_back[0]); i++)
        assert_null(lookup(env, kept_back[i]));
    assert_string_equal(lookup(env, "DATABASE_URL_NOTE"), "kept");
    assert_string_equal(lookup(env, "LC_ALL"), "C.UTF-8");
    conninfo_env_free(env);

    assert_int_equal(conninfo_parse("host=h dbname=x password=y", &ci, &e), 0);
    assert_int_equal(conninfo_env(&ci, NULL, &env, &e), 0);
    assert_null(lookup(env, "DATABASE_URL"));
    assert_null(lookup(env, "SUPABASE_DB_URL"));
    assert_string_equal(lookup(env, "PGPASSWORD"), "y");
    conninfo_env_free(env);
    for (size_t i = 0; i < sizeof(kept_back) / sizeof(kept_back[0]); i++)
        unsetenv(kept_back[i]);
    unsetenv("DATABASE_URL_NOTE");
}

/* Newer libpqs know secrets that they don't mark as such and that have no variable. */
static void test_secrets(void **state)
{
    static const char *const known[] = {"sslpassword", "scram_client_key", "scram_server_key",
                                        "oauth_client_secret"};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        PQconninfoOption options[] = {
            {.keyword = (char *)known[i], .val = "s3cret", .dispchar = "D"},
            {.keyword = "keepalives_idle", .val = "5", .dispchar = ""},
            {.keyword = NULL},
        };
        ConnInfo ci = {.options = options, .dbname = "x"};
        _cleanup_(buf_release) Buf keywords = BUF_INIT;
        Error e = ERROR_INIT;
        assert_int_equal(conninfo_keywords(&ci, false, &keywords, &e), 0);
        assert_string_equal(buf_cstr(&keywords), "keepalives_idle='5'");
        assert_int_equal(conninfo_check_secrets(&ci, &e), -EOPNOTSUPP);
        assert_non_null(strstr(e.message, known[i]));
        assert_null(strstr(e.message, "s3cret"));
        assert_non_null(e.hint);
        error_release(&e);
        options[0].val = NULL;
        assert_int_equal(conninfo_check_secrets(&ci, &e), 0);
    }
}

static void test_poolers(void **state)
{
    static const struct {
        const char *spec, *hint; /* NULL: not refused */
    } cases[] = {
        {"postgresql://u@aws-0-eu.pooler.supabase.com:6543/x", "port 5432"},
        {"postgresql://u@aws-0-eu.pooler.supabase.com:5432/x", NULL},
        {"postgresql://u@db.abcdefgh.supabase.co:6543/x", "port 5432"},
        {"postgresql://u@db.abcdefgh.supabase.co/x", NULL},
        {"postgresql://u@ep-a-1-pooler.eu.aws.neon.tech/x", "ep-a-1.eu.aws.neon.tech"},
        {"postgresql://u@ep-a-1.eu.aws.neon.tech/x", NULL},
        {"postgresql://u@db.example.com:6543/x", NULL},
        {"host=a,b.pooler.supabase.com port=5432,6543 dbname=x", "port 5432"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(conninfo_release) ConnInfo ci = {0};
        Error e = ERROR_INIT;
        assert_int_equal(conninfo_parse(cases[i].spec, &ci, &e), 0);
        int r = conninfo_check_pooler(&ci, &e);
        assert_int_equal(r, cases[i].hint ? -EOPNOTSUPP : 0);
        if (r < 0)
            assert_non_null(strstr(e.hint, cases[i].hint));
        error_release(&e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masked),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_child_env),
        cmocka_unit_test(test_child_env_of_hosted_services),
        cmocka_unit_test(test_env_without_connection),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_poolers),
    };
    return cmocka_run_group_tests(tests, clear_env, NULL);
}
