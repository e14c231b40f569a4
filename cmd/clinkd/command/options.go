package command

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// options are the flags of clinkd run, checked.
type options struct {
	dir               string // the topology, absolute
	name              string // its last path element
	dataDir           string // absolute
	sites             []string
	http              string
	hosts             []string // names that the REST API answers to besides
	httpCert, httpKey string
	apiKeys           string
	secretsDir        string // absolute
	gitCommit         bool
	gitPush           string // REMOTE/BRANCH
	resync            time.Duration
	logFormat         string
	logLevel          slog.Level
	pprof             string
}

type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// parse reads the flags of clinkd run; a flag that is not given is taken from
// the environment (--data-dir from CLINK_DATA_DIR).
func (c Command) parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("clinkd run", flag.ContinueOnError)
	fs.Var((*list)(&o.sites), "site", "run this `NAME` only; may be repeated (default: all sites, if every listener is on loopback)")
	fs.StringVar(&o.http, "http", "127.0.0.1:18083", "`ADDR` of the REST API, health and metrics")
	fs.StringVar(&o.httpCert, "http-cert", "", "certificate `FILE` (PEM) for the REST API; read again when it changes")
	fs.StringVar(&o.httpKey, "http-key", "", "key `FILE` (PEM) for the REST API")
	fs.Var((*list)(&o.hosts), "http-host", "answer requests to this `NAME`; may be repeated (always: localhost, this machine's name and addresses)")
	fs.StringVar(&o.dataDir, "data-dir", "", "`DIR` for what must survive a restart (default: $XDG_STATE_HOME/clink/<topology>-<hash>)")
	fs.StringVar(&o.apiKeys, "api-keys", "", "`FILE` of API keys, a line key:secret[:administrator|viewer] each; SIGHUP reads it again (default: one is made in the data directory)")
	fs.StringVar(&o.secretsDir, "secrets-dir", "", "`DIR` for credentials that come over REST (default: secrets in the topology)")
	fs.BoolVar(&o.gitCommit, "git-commit", false, "commit what is written over REST, in the name of the API key")
	fs.StringVar(&o.gitPush, "git-push", "", "push these commits to `REMOTE/BRANCH`; needs --git-commit")
	fs.DurationVar(&o.resync, "resync", 30*time.Second, "look at the source, and compare what runs with it, every `DURATION` without being woken")
	fs.StringVar(&o.logFormat, "log-format", "text", "`FORMAT` of the log: text or json")
	fs.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "least `LEVEL` of the log: debug, info, warn or error")
	fs.StringVar(&o.pprof, "pprof", "", "serve Go's profiles on this `ADDR`, loopback only")
	rest, err := readFlags(fs, args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(c.Stdout, help(fs))
	}
	if err != nil {
		return o, err
	}
	if err := c.fromEnvironment(fs, &o); err != nil {
		return o, err
	}
	if len(rest) != 1 {
		return o, usagef("clinkd run takes one directory, the topology's; got %d arguments", len(rest))
	}
	return o, o.check(rest[0], c.Getenv)
}

func (c Command) fromEnvironment(fs *flag.FlagSet, o *options) error {
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var err error
	fs.VisitAll(func(f *flag.Flag) {
		name := "CLINK_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		v := c.Getenv(name)
		if given[f.Name] || v == "" || err != nil {
			return
		}
		if l, ok := f.Value.(*list); ok {
			*l = strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
			return
		}
		if e := fs.Set(f.Name, v); e != nil {
			err = usagef("environment variable %s: %w", name, e)
		}
	})
	return err
}

func (o *options) check(dir string, getenv func(string) string) (err error) {
	if o.dir, err = realPath(dir); err != nil {
		return usagef("topology directory: %w", err)
	}
	if info, err := os.Stat(o.dir); err != nil || !info.IsDir() {
		return usagef("%s is not a directory: name the directory that holds the topology's CUE files", dir)
	}
	o.name = filepath.Base(o.dir)
	switch {
	case o.logFormat != "text" && o.logFormat != "json":
		return usagef("--log-format %q is neither text nor json", o.logFormat)
	case (o.httpCert == "") != (o.httpKey == ""):
		return usagef("--http-cert and --http-key go together")
	case o.resync < time.Second:
		return usagef("--resync %v is shorter than 1s", o.resync)
	case o.gitPush != "" && !o.gitCommit:
		return usagef("--git-push %s pushes commits: it needs --git-commit", o.gitPush)
	case o.gitPush != "" && !isRemoteBranch(o.gitPush):
		return usagef("--git-push %s is not of the form REMOTE/BRANCH, such as origin/main", o.gitPush)
	case o.pprof != "" && !loopback(o.pprof):
		return usagef("--pprof %s is not on loopback: profiles show what is in memory", o.pprof)
	}
	if o.secretsDir == "" {
		o.secretsDir = filepath.Join(o.dir, "secrets")
	}
	if o.secretsDir, err = filepath.Abs(o.secretsDir); err != nil {
		return usageError{err}
	}
	if o.dataDir == "" {
		if o.dataDir, err = defaultDataDir(o.dir, getenv); err != nil {
			return usageError{err}
		}
	}
	if o.dataDir, err = filepath.Abs(o.dataDir); err != nil {
		return usageError{err}
	}
	if rel, err := filepath.Rel(o.dir, o.dataDir); err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return usagef("--data-dir %s is inside the topology %s, which is watched: put it elsewhere", o.dataDir, o.dir)
	}
	return nil
}

func isRemoteBranch(s string) bool {
	remote, branch, ok := strings.Cut(s, "/")
	return ok && remote != "" && branch != "" && !strings.HasPrefix(remote, "-")
}

func realPath(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// loopback reports whether addr names a loopback host.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// defaultDataDir is one place for each topology directory of this machine.
func defaultDataDir(dir string, getenv func(string) string) (string, error) {
	state := getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) { // the specification has relative ones ignored
		home := getenv("HOME")
		if home == "" {
			return "", errors.New("neither XDG_STATE_HOME nor HOME is set: name a --data-dir")
		}
		state = filepath.Join(home, ".local", "state")
	}
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(state, "clink", filepath.Base(dir)+"-"+hex.EncodeToString(sum[:4])), nil
}
