package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"clink/internal/secret"
	"clink/topic"
	"clink/topology"

	"github.com/mochi-mqtt/server/v2/packets"
)

// An access is who may connect and what they may do, made ready. It is
// replaced as a whole.
type access struct {
	anonymous bool
	users     map[string]*credential
	rules     []rule       // those that are not the same for everybody
	shared    *sharedRules // those that are
	hasRules  bool
	grants    []*grant // longest prefix first
}

// A grant is a topology.Grant made ready.
type grant struct {
	topology.Grant
	prefix     string // with the colon
	credential *credential
	publish    []topic.Filter
	subscribe  []topic.Filter
}

// newAccess makes an access. What cannot be made ready stays as it was in old
// if it was there, and lets nobody in otherwise; the errors say what.
func newAccess(cfg Config, old *access, v *vault) (*access, error) {
	a := &access{anonymous: cfg.Access.Anonymous, users: make(map[string]*credential), hasRules: cfg.Access.HasACL || len(cfg.Access.ACL) > 0}
	var errs []error
	for _, u := range cfg.Access.Users {
		c, err := v.resolve(u.Password, u.PasswordHash, cfg.BaseDir)
		if err != nil {
			errs = append(errs, fmt.Errorf("user %q: %w", u.Name, err))
			c = old.users[u.Name]
		}
		if was := old.users[u.Name]; c != nil && was != nil && was.source == c.source {
			c = was
		}
		a.users[u.Name] = c
	}
	var common []rule
	for i, r := range cfg.Access.ACL {
		u, err := compileRule(r)
		if err != nil {
			errs = append(errs, fmt.Errorf("ACL rule %d: %w", i+1, err))
			u = rule{action: u.action | mayPublish | maySubscribe, any: true} // nothing beyond it can be trusted
		}
		u.order = i
		if u.user != "" || u.id != "" || u.topics != nil {
			a.rules = append(a.rules, u)
		} else {
			common = append(common, u)
		}
	}
	a.shared = shareRules(common)
	for _, g := range cfg.Grants {
		ready, err := newGrant(g, old, v, cfg.BaseDir)
		if err != nil {
			errs = append(errs, fmt.Errorf("grant for %q: %w", g.Peer, err))
		}
		a.grants = append(a.grants, ready)
	}
	slices.SortStableFunc(a.grants, func(g, h *grant) int { return len(h.prefix) - len(g.prefix) })
	return a, errors.Join(errs...)
}

// newGrant never returns nil: a grant without a usable credential still keeps
// its client ids from everybody else.
func newGrant(g topology.Grant, old *access, v *vault, base string) (*grant, error) {
	out := &grant{Grant: g, prefix: g.ClientIDPrefix + ":"}
	var errs []error
	for _, list := range []struct {
		from []string
		to   *[]topic.Filter
	}{{g.Publish, &out.publish}, {g.Subscribe, &out.subscribe}} {
		for _, s := range list.from {
			f, err := topic.Parse(s)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			*list.to = append(*list.to, f)
		}
	}
	if g.Password == (secret.Ref{}) && g.PasswordHash == (secret.Ref{}) {
		return out, errors.Join(errs...)
	}
	was := old.sameGrant(g)
	c, err := v.resolve(g.Password, g.PasswordHash, base)
	switch {
	case err != nil && was != nil:
		errs = append(errs, err)
		c = was.credential
	case err != nil:
		errs = append(errs, err)
		c = nil
	case was != nil && was.credential != nil && was.credential.source == c.source:
		c = was.credential
	}
	out.credential = c
	return out, errors.Join(errs...)
}

func (a *access) sameGrant(g topology.Grant) *grant {
	for _, h := range a.grants {
		if h.Peer == g.Peer && h.ClientIDPrefix == g.ClientIDPrefix && h.Username == g.Username {
			return h
		}
	}
	return nil
}

// needsPassword tells a grant that names a password from one that names none.
func (g *grant) needsPassword() bool {
	return g.Password != (secret.Ref{}) || g.PasswordHash != (secret.Ref{})
}

// A claim is what a client says of itself, and what its connection says of it.
type claim struct {
	id       string
	username string
	hasUser  bool
	password []byte // nil when asked again for a client that is connected
	digest   digest // of the password, once it was checked
	again    bool   // the password is known by its digest only
	restored bool   // an earlier process let it in: it need not prove who it is until it connects
	commonCN string // of its verified certificate
	certUser string // the user name that the certificate gives at this listener
	busy     bool   // the password could not be checked
	loopback bool
}

// A refusal says why a client is not let in. Reason holds no credential.
type refusal struct {
	code   packets.Code
	reason string
}

func (r *refusal) Error() string { return r.reason }

// admit decides about a client. It fills in the claim's digest.
func (a *access) admit(c *claim, v *vault) (*right, *refusal) {
	if g := a.grantOf(c.id); g != nil {
		if why := g.admit(c, v); why != "" {
			if c.busy {
				return nil, &refusal{packets.ErrServerBusy, tooBusy}
			}
			code := packets.ErrBadUsernameOrPassword
			if !g.needsPassword() {
				code = packets.ErrNotAuthorized
			}
			return nil, &refusal{code, why}
		}
		return &right{grant: g}, nil
	}
	if c.certUser != "" {
		return a.ordinary(c.certUser, c.id), nil
	}
	if !c.hasUser {
		if !a.anonymous {
			return nil, &refusal{packets.ErrNotAuthorized, "anonymous clients are not let in"}
		}
		return a.ordinary(c.username, c.id), nil
	}
	cred, known := a.users[c.username]
	if !known && len(a.users) == 0 && a.anonymous {
		return a.ordinary(c.username, c.id), nil
	}
	if !c.proves(cred, v) {
		if c.busy {
			return nil, &refusal{packets.ErrServerBusy, tooBusy}
		}
		return nil, &refusal{packets.ErrBadUsernameOrPassword, "bad user name or password"}
	}
	return a.ordinary(c.username, c.id), nil
}

func (a *access) ordinary(username, id string) *right {
	if !a.hasRules {
		return &right{open: true}
	}
	return &right{rules: bind(a.rules, username, id), shared: a.shared}
}

func (a *access) grantOf(id string) *grant {
	for _, g := range a.grants {
		if strings.HasPrefix(id, g.prefix) {
			return g
		}
	}
	return nil
}

// admit returns why c is not let in, or "".
func (g *grant) admit(c *claim, v *vault) string {
	if g.Username != "" && c.username != g.Username {
		return "the user name is not the link's"
	}
	if g.needsPassword() && !c.proves(g.credential, v) {
		return "bad user name or password"
	}
	if g.CertName != "" && c.commonCN != g.CertName {
		return fmt.Sprintf("no verified client certificate for %q", g.CertName)
	}
	if g.needsPassword() || g.CertName != "" {
		return ""
	}
	if !g.Loopback {
		return "the link gives no credential"
	}
	if !c.loopback {
		return "a link without credential is let in from loopback only"
	}
	return ""
}

func (c *claim) proves(cred *credential, v *vault) bool {
	if c.restored {
		return cred != nil
	}
	if c.again {
		return cred != nil && cred.still(c.digest)
	}
	var ok bool
	c.digest, ok, c.busy = v.check(cred, c.password)
	return ok
}

// tooBusy is why a client is sent away whose password was not looked at.
const tooBusy = "too many passwords are being checked; it may try again"
