package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of one run of git.
const (
	readTimeout    = 30 * time.Second
	commitTimeout  = 2 * time.Minute // hooks may take long
	networkTimeout = 2 * time.Minute
	grace          = 2 * time.Second // from the request to end until the kill
	maxOut         = 4 << 20
	maxErr         = 8 << 10
	maxTold        = 2 << 10 // of git's words in an error
)

// A call is one run of git.
type call struct {
	args    []string
	dir     string // "" for the top of the work tree
	stdin   string
	env     []string // added
	timeout time.Duration
}

// A failure is git's refusal.
type failure struct {
	args   []string
	dir    string
	code   int
	stderr string
}

func (f *failure) Error() string {
	return fmt.Sprintf("git %s in %s: %s", f.args[0], f.dir, f.told())
}

// Is makes a failure ErrNoRepo if the repository went away, or came to belong
// to another user, after it was opened.
func (f *failure) Is(target error) bool {
	return target == ErrNoRepo && (strings.Contains(f.stderr, "not a git repository") || strings.Contains(f.stderr, "dubious ownership"))
}

// told is what git said, fit to be shown.
func (f *failure) told() string {
	if s := shown(f.stderr); s != "" {
		return s
	}
	return fmt.Sprintf("exit status %d", f.code)
}

// exitCode returns the exit status that err is about: 0 if it is nil, -1 if it
// is about something else.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f.code
	}
	return -1
}

// git runs git to read something and returns what it prints, without the
// last newline.
func (r *Repo) git(ctx context.Context, args ...string) (string, error) {
	out, err := r.run(ctx, call{args: args, timeout: readTimeout})
	return strings.TrimSuffix(out, "\n"), err
}

// always are settings that no call goes without: nothing is coloured or
// quoted, and messages are what they are, whatever the user's own taste.
var always = []string{"--no-pager", "-c", "color.ui=false", "-c", "core.quotePath=false", "-c", "i18n.commitEncoding=UTF-8"}

func (r *Repo) run(ctx context.Context, c call) (string, error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if c.dir == "" {
		c.dir = r.top
	}
	cmd := exec.CommandContext(limited, r.program, append(always[:len(always):len(always)], c.args...)...)
	cmd.Dir = c.dir
	cmd.Env = append(r.env[:len(r.env):len(r.env)], c.env...)
	cmd.Stdin = strings.NewReader(c.stdin)
	stdout, stderr := &bounded{max: maxOut}, &tail{max: maxErr}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = grace
	isolate(cmd)
	err := cmd.Run()
	if limited.Err() != nil {
		killRest(cmd)
	}
	name := command(c.args)
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("git %s in %s: %w", name, c.dir, context.Cause(ctx))
	case limited.Err() != nil:
		return "", fmt.Errorf("git %s in %s: not done after %v; stopped it", name, c.dir, c.timeout)
	case exited:
		return stdout.buf.String(), &failure{args: []string{name}, dir: c.dir, code: exit.ExitCode(), stderr: stderr.String()}
	case cmd.Process == nil:
		return "", fmt.Errorf("%w: git %s in %s: %w", r.missing(c.dir), name, c.dir, err)
	case err != nil && !errors.Is(err, exec.ErrWaitDelay): // a hook may leave something running
		return "", fmt.Errorf("git %s in %s: %w", name, c.dir, err)
	case stdout.over:
		return "", fmt.Errorf("git %s in %s: more than %d bytes of output", name, c.dir, maxOut)
	}
	return stdout.buf.String(), nil
}

// missing tells what keeps git from being started.
func (r *Repo) missing(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return ErrNoRepo
	}
	return ErrNoGit
}

// command returns the name of git's command among its arguments.
func command(args []string) string {
	for len(args) > 2 && args[0] == "-c" {
		args = args[2:]
	}
	return args[0]
}

// kept are the variables of the daemon's environment that tell git how to
// reach a remote, whom to trust and who commits. All others that begin with
// GIT_ are dropped: they speak of another repository or of a program that
// started the daemon, and may ask questions or write traces.
var kept = regexp.MustCompile(`^GIT_(SSH|SSH_COMMAND|SSH_VARIANT|SSL_.*|PROXY_.*|HTTP_.*|ASKPASS|EXEC_PATH|CONFIG_(GLOBAL|SYSTEM|NOSYSTEM|COUNT|KEY_\d+|VALUE_\d+)|COMMITTER_(NAME|EMAIL))$`)

// environment is the environment that git runs in, made of that of the daemon.
func environment(own []string) []string {
	var env []string
	force := false
	for _, kv := range own {
		name, value, _ := strings.Cut(kv, "=")
		force = force || name == "SSH_ASKPASS_REQUIRE" && value == "force"
		switch {
		case strings.HasPrefix(name, "GIT_") && !kept.MatchString(name),
			name == "LC_ALL", name == "SSH_ASKPASS", name == "SSH_ASKPASS_REQUIRE":
			continue
		}
		env = append(env, kv)
	}
	for _, kv := range own { // a program that is to answer without a person is kept
		if force && strings.HasPrefix(kv, "SSH_ASKPASS") {
			env = append(env, kv)
		}
	}
	return append(env, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "GIT_PAGER=cat",
		"GIT_EDITOR=true", "GIT_SEQUENCE_EDITOR=true", "GIT_MERGE_AUTOEDIT=no", "GCM_INTERACTIVE=never")
}

// A bounded keeps the beginning of what is written to it.
type bounded struct {
	buf  bytes.Buffer
	max  int
	over bool
}

func (o *bounded) Write(b []byte) (int, error) {
	room := o.max - o.buf.Len()
	o.over = o.over || len(b) > room
	o.buf.Write(b[:min(len(b), room)])
	return len(b), nil
}

// A tail keeps the end of what is written to it.
type tail struct {
	buf []byte
	max int
}

func (t *tail) Write(b []byte) (int, error) {
	t.buf = append(t.buf, b[max(0, len(b)-t.max):]...)
	if over := len(t.buf) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string { return string(t.buf) }

var (
	escapes  = regexp.MustCompile(`\x1b\[[0-9;?]*[ -/]*[@-~]`)
	userInfo = regexp.MustCompile(`(://)[^/\s'"]*@`)
	urlQuery = regexp.MustCompile(`(https?://[^\s'"?]*\?)[^\s'"]+`)
)

// shown makes the output of git or of a hook fit for an error: short, without
// control characters, and without credentials that stand in a URL. It keeps
// the end, where programs say what failed.
func shown(s string) string {
	s = escapes.ReplaceAllString(s, "")
	s = userInfo.ReplaceAllString(s, "${1}******@")
	s = urlQuery.ReplaceAllString(s, "${1}******")
	s = strings.TrimSpace(strings.Map(func(c rune) rune {
		if c == '\n' || c == '\t' || unicode.IsPrint(c) {
			return c
		}
		return -1
	}, strings.ToValidUTF8(s, "?")))
	if len(s) <= maxTold {
		return s
	}
	cut := len(s) - maxTold
	for !utf8.RuneStart(s[cut]) {
		cut++
	}
	return "… " + s[cut:]
}

// A gate lets one through at a time.
type gate chan struct{}

func newGate() gate { return make(gate, 1) }

// enter waits for its turn. Whoever entered has to leave.
func (g gate) enter(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g gate) leave() { <-g }
