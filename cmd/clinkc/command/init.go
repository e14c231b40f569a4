package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what init writes: beyond them nobody edits site files by hand. The
// last port stays below those that systems hand out by themselves.
const (
	maxMesh   = 100 // sites
	maxSpokes = 1000
	firstPort = 1883
	lastPort  = 32767
)

// siteName is what EMQX takes everywhere as a cluster's name.
var siteName = regexp.MustCompile(`^[0-9a-zA-Z][-0-9a-zA-Z_]*$`)

// maxName bounds a site's name in bytes. EMQX takes 254; two of them, and what
// joins them, must fit into a file name.
const maxName = 100

// initialize writes a topology that vets clean and runs as it is.
func (c Command) initialize(ctx context.Context, s subcommand, args []string) error {
	flags := newFlags()
	mesh := flags.String("mesh", "", "`NAMES` sites that all link with each other, such as a,b,c; without it and --hub there are site-a and site-b")
	hub := flags.String("hub", "", "`NAME` a site that links with each of --spokes")
	spokes := flags.String("spokes", "", "`NAMES` sites that link with --hub alone, such as a,b,c")
	port := flags.Int("port", firstPort, "`PORT` where the first site listens; the others follow")
	rest, err := c.parse(s, flags, args, 1)
	if err != nil {
		return helped(err)
	}
	asked := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { asked[f.Name] = true })
	p, err := planned(*mesh, *hub, *spokes)
	if *mesh == "" && asked["mesh"] || *hub == "" && asked["hub"] {
		err = errNameless // such as of a variable that is not set
	}
	if err == nil {
		err = p.check(*port)
	}
	if err != nil {
		return usageError{err, s.help(flags)}
	}
	name := "."
	if len(rest) > 0 {
		name = rest[0]
	}
	files, err := p.files(*port)
	if err != nil {
		return err
	}
	if err := plant(ctx, c.path(name), files); err != nil {
		return err
	}
	return c.print(p.farewell(name, *port))
}

// A plan is which sites there are, and which of them link with which.
type plan struct {
	names []string // in the order given
	hub   bool     // the first is the hub of the others; else all link with all
}

var errNameless = errors.New("a site's name is empty: write the names with one comma between them, such as a,b,c")

// planned reads the flags of init.
func planned(mesh, hub, spokes string) (plan, error) {
	switch {
	case mesh != "" && (hub != "" || spokes != ""):
		return plan{}, errors.New("--mesh and --hub are two shapes: give one of them")
	case hub != "" && spokes == "":
		return plan{}, errors.New("--hub needs --spokes with the names of the other sites")
	case hub == "" && spokes != "":
		return plan{}, errors.New("--spokes needs --hub with the name of the site between them")
	case mesh != "":
		return plan{names: split(mesh)}, nil
	case hub != "":
		return plan{names: append([]string{strings.TrimSpace(hub)}, split(spokes)...), hub: true}, nil
	}
	return plan{names: []string{"site-a", "site-b"}}, nil
}

func split(list string) []string {
	names := strings.Split(list, ",")
	for i, n := range names {
		names[i] = strings.TrimSpace(n)
	}
	return names
}

// check says what about the plan would not vet clean or not run.
func (p plan) check(port int) error {
	for i, n := range p.names {
		switch {
		case n == "":
			return errNameless
		case len(n) > maxName:
			return fmt.Errorf("the name %.20q... has %d bytes: %d are the most", n, len(n), maxName)
		case !siteName.MatchString(n), n == "link", n == "emqxcl":
			return fmt.Errorf("%q cannot name a site: use letters, digits, - and _, a letter or digit first; link and emqxcl are taken", n)
		case slices.Contains(p.names[:i], n):
			return fmt.Errorf("there are two sites named %s: names must differ", n)
		}
	}
	most := maxMesh
	if p.hub {
		most = maxSpokes + 1
	}
	switch {
	case len(p.names) < 2:
		return fmt.Errorf("a topology has two sites or more, not only %s", p.names[0])
	case len(p.names) > most:
		return fmt.Errorf("%d sites are too many to write by hand: %d are the most; a CUE comprehension makes larger ones", len(p.names), most)
	case port < 1 || port+len(p.names)-1 > lastPort:
		return fmt.Errorf("--port %d: %d sites need ports from 1 to %d", port, len(p.names), lastPort)
	}
	return nil
}

// peers are the sites that site i links with.
func (p plan) peers(i int) []int {
	var l []int
	for j := range p.names {
		if j != i && (!p.hub || i == 0 || j == 0) {
			l = append(l, j)
		}
	}
	return l
}

// overlap reports whether a name begins with another one. A peer is known by
// how its client ids begin, which is its name unless its links say otherwise.
func (p plan) overlap() bool {
	sorted := slices.Sorted(slices.Values(p.names))
	for i := 1; i < len(sorted); i++ {
		if strings.HasPrefix(sorted[i], sorted[i-1]) {
			return true
		}
	}
	return false
}

// topics are what site i wants from site j.
func (p plan) topics(i, j int) []string {
	switch {
	case !p.hub:
		return []string{"global/#"}
	case i == 0:
		return []string{"data/" + p.names[j] + "/#"}
	}
	return []string{"command/all", "command/" + p.names[i] + "/#"}
}

// farewell is what a user does next.
func (p plan) farewell(dir string, port int) string {
	const few = 10
	var b strings.Builder
	links := 0
	for i := range p.names {
		links += len(p.peers(i))
	}
	fmt.Fprintf(&b, "Wrote a topology of %d sites and %d links to %s:\n\n", len(p.names), links, dir)
	width := 0
	for _, n := range p.names[:min(few, len(p.names))] {
		width = max(width, len(n))
	}
	for i, n := range p.names {
		if i == few && len(p.names) > few+1 {
			fmt.Fprintf(&b, "  %-*s  and so on, up to 127.0.0.1:%d\n", width, "...", port+len(p.names)-1)
			break
		}
		fmt.Fprintf(&b, "  %-*s  127.0.0.1:%d  %s\n", width, n, port+i, p.fileNames()[i])
	}
	at := "clinkc vet"
	run := "clinkd run ."
	if dir != "." {
		at += " " + shellWord(dir)
		run = "clinkd run " + shellWord(dir)
	}
	const from, to = 0, 1
	topic := "global/hello"
	if p.hub {
		topic = "command/all"
	}
	fmt.Fprintf(&b, `
Next:

  %s
        checks all sites together, before anything runs; do it after each change
  %s
        runs all sites on this machine until Ctrl-C

What is published to %s at %s then arrives at %s. With any MQTT client:

  mosquitto_sub -p %d -t %s
  mosquitto_pub -p %d -t %s -m hi

The passwords of the links are in secrets/, which .gitignore keeps out of git.
`, at, run, topic, p.names[from], p.names[to], port+to, topic, port+from, topic)
	return b.String()
}

// shellWord is a word as it is typed in a shell.
func shellWord(s string) string {
	if regexp.MustCompile(`^[-+./0-9@A-Z_a-z]+$`).MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// A claim hands out file names that no file system takes for the same.
type claim map[string]bool

// take returns the stem, or the stem with a number where it is gone.
func (c claim) take(stem string) string {
	for n := 1; ; n++ {
		name := stem
		if n > 1 {
			name += "-" + strconv.Itoa(n)
		}
		if key := strings.ToLower(name); !c[key] {
			c[key] = true
			return name
		}
	}
}

// foreign are stems that cue, clink or Windows read something into.
var foreign = regexp.MustCompile(`(?i)_tool$|_test$|^clink_schema$|^policy$|^(con|prn|aux|nul|com[0-9]|lpt[0-9])$`)

// fileNames are the files of the sites, in their order.
func (p plan) fileNames() []string {
	taken := claim{}
	l := make([]string, len(p.names))
	for i, n := range p.names {
		stem := strings.ReplaceAll(n, "-", "_")
		if foreign.MatchString(stem) {
			stem = "site_" + stem + "_"
		}
		l[i] = taken.take(stem) + ".cue"
	}
	return l
}

// secretNames are the files in secrets/ of what site i proves itself with to
// site j.
func (p plan) secretNames() map[[2]int]string {
	taken := claim{}
	m := map[[2]int]string{}
	for i, n := range p.names {
		for _, j := range p.peers(i) {
			m[[2]int{i, j}] = taken.take(n + "-to-" + p.names[j])
		}
	}
	return m
}

// word is a site's name as CUE source, quoted only where it must be.
func word(name string) string {
	if regexp.MustCompile(`^[a-zA-Z][0-9a-zA-Z_]*$`).MatchString(name) && !slices.Contains(cueWords, name) {
		return name
	}
	return strconv.Quote(name)
}

// cueWords mean something to CUE where a plain label stands.
var cueWords = []string{"let", "for", "if", "in", "import", "package", "true", "false", "null", "func", "try", "else", "otherwise", "fallback"}
