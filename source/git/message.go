package git

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// A Change is what one commit is to hold and say. Its texts may come from
// anywhere: nothing in them can end a line, begin a trailer or name another
// author.
type Change struct {
	Files    []string    // absolute; new, changed or deleted
	Subject  string      // one line
	Body     string      // may be ""
	Author   string      // the API key, "" for the daemon itself
	Trailers [][2]string // names and values
}

// Limits of a commit's texts.
const (
	maxSubject = 200
	maxValue   = 1000
	maxBody    = 64 << 10
	maxName    = 64
	maxFiles   = 1000
)

// self is who commits for nobody in particular. No key has this address: those
// of keys end in @clink.
const (
	selfName  = "clinkd"
	selfEmail = "clinkd@localhost"
)

var errInvalid = errors.New("this change cannot be committed")

var trailerName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`)

// message is the commit message of c. The trailers are a paragraph of their
// own, so that nothing in the body counts as one.
func (c Change) message() (string, error) {
	subject := printable(c.Subject, maxSubject)
	if subject == "" {
		return "", fmt.Errorf("%w: it has no subject", errInvalid)
	}
	paragraphs := []string{subject}
	if body := bodyText(c.Body); body != "" {
		paragraphs = append(paragraphs, body)
	}
	var trailers []string
	for _, t := range c.Trailers {
		if !trailerName.MatchString(t[0]) {
			return "", fmt.Errorf("%w: %q is no name for a trailer", errInvalid, printable(t[0], maxName))
		}
		if value := printable(t[1], maxValue); value != "" {
			trailers = append(trailers, t[0]+": "+value)
		}
	}
	if len(trailers) > 0 {
		paragraphs = append(paragraphs, strings.Join(trailers, "\n"))
	}
	return strings.Join(paragraphs, "\n\n") + "\n", nil
}

// bodyText is a body of printable lines. Lines that would end the message for
// a program that looks for patches in it are set in.
func bodyText(s string) string {
	if len(s) > maxBody {
		s = strings.ToValidUTF8(s[:maxBody], "") + "\n…"
	}
	var lines []string
	for line := range strings.Lines(s) {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		line = strings.Repeat(" ", min(indent, 8)) + printable(line, maxValue)
		if strings.HasPrefix(line, "---") || strings.HasPrefix(line, "diff -") {
			line = " " + line
		}
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

// printable is s as one line of printable characters, at most max of them.
func printable(s string, max int) string {
	s = strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return ' '
	}, strings.ToValidUTF8(s, " "))
	s = strings.TrimSpace(s)
	if r := []rune(s); len(r) > max {
		s = strings.TrimSpace(string(r[:max-1])) + "…"
	}
	return s
}

var (
	plainKey = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._+-]{0,62}[A-Za-z0-9])?$`)
	unmailed = regexp.MustCompile(`[^A-Za-z0-9._+-]+`)
	edges    = regexp.MustCompile(`^[^\pL\pN]+|[^\pL\pN)]+$`)
)

// author returns the name and the address that stand for an API key. A key
// that cannot stand in a commit as it is bears a part of its hash, so that no
// key can be made to look like another.
func author(key string) (name, email string) {
	if key == "" {
		return selfName, selfEmail
	}
	if plainKey.MatchString(key) {
		return key, key + "@clink"
	}
	sum := sha256.Sum256([]byte(key))
	mark := hex.EncodeToString(sum[:4])
	name = edges.ReplaceAllString(printable(strings.Map(noBrackets, key), maxName), "")
	email = strings.Trim(unmailed.ReplaceAllString(name, "-"), "-._+")
	if name != key {
		name = strings.TrimSpace(name + " (" + mark + ")")
	}
	return name, strings.TrimPrefix(email+"-"+mark, "-") + "@clink"
}

func noBrackets(c rune) rune {
	if c == '<' || c == '>' {
		return ' '
	}
	return c
}

// identity is the environment that names author and committer. The committer
// is the one git is configured for; git's own guess from user and host name
// fails in containers, so the daemon steps in where nothing is configured.
func (r *Repo) identity(ctx context.Context, key string) ([]string, error) {
	name, email := author(key)
	env := []string{"GIT_AUTHOR_NAME=" + name, "GIT_AUTHOR_EMAIL=" + email}
	out, err := r.git(ctx, "config", "--name-only", "--get-regexp", `^(user|committer)\.(name|email)$`)
	if err != nil && exitCode(err) != 1 {
		return nil, err
	}
	has := func(setting, variable string) bool {
		for _, kv := range r.env {
			if value, ok := strings.CutPrefix(kv, variable+"="); ok && value != "" {
				return true
			}
		}
		return strings.Contains("\n"+out+"\n", "."+setting+"\n")
	}
	if !has("name", "GIT_COMMITTER_NAME") {
		env = append(env, "GIT_COMMITTER_NAME="+selfName)
	}
	if !has("email", "GIT_COMMITTER_EMAIL") && !has("email", "EMAIL") {
		env = append(env, "GIT_COMMITTER_EMAIL="+selfEmail)
	}
	return env, nil
}
