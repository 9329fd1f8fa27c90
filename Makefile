# make            the module, .build/ngx_patient_guard_module.so
# make install    into the installed nginx (DESTDIR is respected)
# make test       everything that can be proved (TESTS=t/x.t STORE=redis: a part)
# make unit       only the programs of t/unit
# make asan       the same suites under AddressSanitizer and UBSan
# make valgrind   the same suites under valgrind
# make chaos      each fault of Redis in each mode (SHORT=1 SANITIZE=1 FAULTS=x)
# make fuzz       libFuzzer on what comes from outside (FUZZ_SECONDS=60 each)
# make matrix     the suites on each Debian, with Redis and Valkey, module and
#                 static (CELLS="trixie-valkey sid-valkey": some)
# make coverage   which lines of the module the tests reach
# make check      the order of ranks, the style
# make deb        a Debian package, .build/deb/*.deb (TEST=1: and tried out)
# make endure     races, reloads, kills, aborts, upgrades, and flat memory
#                 (PART=race: one of them; SHORT=1: three minutes in all)
# make bench      what the guard costs: PART=speed, a lookup, beside nginx' own,
#                 Lua and HAProxy; PART=bodies, looking into a megabyte of
#                 response; PART=growth, with accounts, patients, limits and
#                 workers (SHORT=1: minutes)
# make bench-instructions  instructions of a worker for a lookup (KEEP=dir:
#                 whose they are; GUARD=1: no more than are written)
# make scale      100,000 accounts with 28 days of lookups in Redis: memory and
#                 the script's time (SHORT=1: a minute; see scripts/scale/run)
# make lab        policies against the ways in which data leaves, and against
#                 people at work: leak, false alarms, scores (SHORT=1: minutes;
#                 POLICIES="P5 P7" SEEDS=3 ...: see scripts/lab/run)
# make run        the breach against the demonstration portal (STORE=memory)
# make serve      the portal, left running
# make browser    the desk's page in a Chromium without a screen, its picture, and
#                 the portal's challenges from end to end
#                 (BOARD_URL=http://.../guard/: a real one, see scripts/browser)
# make alerts     the rules for Prometheus and Grafana's board, by promtool
#
# Each installs what it needs on Debian, and says what it lacks elsewhere.

ifneq ($(words $(CURDIR)),1)
$(error nginx cannot be built from a path with blanks: "$(CURDIR)")
endif

ifeq ($(origin CC),default)
CC = gcc
endif
export CC

BUILD  = $(CURDIR)/.build
OBJS   = $(BUILD)/module
MODULE = $(BUILD)/ngx_patient_guard_module.so
SCRIPTS = $(wildcard ngx_patient_guard_module/*.lua)
BOARD  = ngx_patient_guard_module/ngx_patient_guard_board.html

# nginx-dev's
NGINX_SRC = /usr/share/nginx/src

nginx_opt = $(shell PATH=$$PATH:/usr/sbin nginx -V 2>&1 | sed -n "s/.*--$(1)=//p" \
                    | sed "s/^'\([^']*\)'.*/\1/; t; s/ .*//")

# nginx's handlers all have parameters that some of them do not use
WARNINGS = -Wall -Wextra -Wno-unused-parameter

.PHONY: all headers module install test unit asan valgrind chaos fuzz \
        coverage check deb endure bench bench-instructions run serve clean \
        scale lab matrix browser alerts FORCE
.DELETE_ON_ERROR:

# one build at a time: nginx's configure breaks beside another; + where it is
# used, for make does not look for $(MAKE) in variables
locked = mkdir -p $(BUILD) && flock $(BUILD)/lock \
         $(MAKE) --no-print-directory

all:
	+@$(locked) module

headers:
	+@$(locked) $(OBJS)/Makefile

module: $(OBJS)/Makefile
	@echo "building $(MODULE:$(CURDIR)/%=%)"
	@$(MAKE) -s --no-print-directory -C $(NGINX_SRC) -f $(OBJS)/Makefile modules
	@cmp -s $(OBJS)/ngx_patient_guard_module.so $(MODULE) \
	    || install -m 644 $(OBJS)/ngx_patient_guard_module.so $(MODULE)

# another nginx or another compiler: configure anew
$(BUILD)/for: FORCE
	@scripts/setup build
	@$(CC) --version > $@.new
	@PATH=$$PATH:/usr/sbin nginx -V 2>> $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# -Werror is nginx's own, and not part of the options: they also serve
# configure's probes, which have unused variables
$(OBJS)/Makefile: $(BUILD)/for config $(SCRIPTS) $(BOARD)
	@mkdir -p $(OBJS)
	@cd $(NGINX_SRC) && bash -c '. ./conf_flags && exec ./configure \
	    --with-cc="$(CC)" --builddir=$(OBJS) \
	    --with-cc-opt="$(call nginx_opt,with-cc-opt) $(WARNINGS)" \
	    --with-ld-opt="$(call nginx_opt,with-ld-opt)" \
	    "$${NGX_CONF_FLAGS[@]}" --add-dynamic-module=$(CURDIR)' \
	    > $(BUILD)/configure.log || { tail -n 5 $(BUILD)/configure.log; exit 1; }

# where Debian's own modules are, and as they are switched on
modules = $(call nginx_opt,modules-path)
snippet = /usr/share/nginx/modules-available/mod-http-patient-guard.conf
enabled = /etc/nginx/modules-enabled

install: all
	install -D -m 644 $(MODULE) "$(DESTDIR)$(modules)/$(notdir $(MODULE))"
	install -d "$(DESTDIR)$(dir $(snippet))" "$(DESTDIR)$(enabled)"
	echo "load_module modules/$(notdir $(MODULE));" > "$(DESTDIR)$(snippet)"
	ln -sf $(snippet) "$(DESTDIR)$(enabled)/50-$(notdir $(snippet))"

test:
	@scripts/test

unit:
	@scripts/test --unit

asan valgrind:
	@scripts/sanitize $@

chaos:
	@$(if $(SANITIZE),scripts/sanitize asan )scripts/chaos/run

fuzz:
	@scripts/fuzz

matrix:
	@scripts/matrix

coverage:
	@scripts/coverage

check: all
	@scripts/setup check
	@scripts/layers
	@scripts/style

deb:
	@scripts/deb/build
	@$(if $(TEST),scripts/deb/test)

endure:
	@scripts/endure/run

bench:
	@scripts/bench/run

bench-instructions:
	@PART=instructions scripts/bench/run

scale:
	@scripts/scale/run

lab:
	@scripts/lab/run

browser:
	@scripts/browser/run

alerts:
	@scripts/prometheus/check

run: all
	@scripts/demo/run

serve: all
	@scripts/demo/serve

clean:
	rm -rf $(BUILD)
