package httpapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"clink/internal/secret"
	"clink/topic"
	"clink/topology"
)

// answerOnly are the fields that answers have and that say nothing in a body,
// so that what a GET or a write answers can be sent back.
var answerOnly = [...]string{"status", "node_status", "replication", "source", "suspension", "findings", "halves", "ps_actor_incarnation"}

// linkFields are the fields that a link may have.
var linkFields = jsonFields(reflect.TypeFor[topology.Link]())

func jsonFields(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// A validation is EMQX's form of what is wrong with a value: JSON text in the
// message of an error, keys in EMQX's order.
type validation struct {
	Value  any    `json:"value,omitempty"`
	Reason any    `json:"reason"`
	Path   string `json:"path,omitempty"`
	Kind   string `json:"kind"`
}

func invalid(v validation) error {
	v.Kind = "validation_error"
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return bad(string(b))
}

// invalidName is EMQX's form of what is wrong with a name.
func invalidName(reason string) error {
	b, err := json.Marshal(struct {
		Kind   string `json:"kind"`
		Reason string `json:"reason"`
	}{"validation_error", reason})
	if err != nil {
		return err
	}
	return bad(string(b))
}

// nameForm is EMQX's form of the name of a link that is created.
var nameForm = regexp.MustCompile(`^[0-9a-zA-Z][-0-9a-zA-Z_]*$`)

// newName checks the name of a link that is created.
func newName(v any) error {
	name, ok := v.(string)
	switch {
	case v == nil:
		return invalid(validation{Reason: "required_field", Path: "root.name"})
	case !ok:
		return invalidName("The name must be a string")
	case name == "":
		return invalidName("Name cannot be empty string")
	case len(name) >= 255:
		return invalidName("Name length must be less than 255")
	case name == "link":
		return invalidName("A link cannot be called link: that word stands for another thing in the paths of this API")
	case !nameForm.MatchString(name):
		return invalidName("Invalid name format. A name begins with a letter or a digit, and has only letters, digits, hyphens and underscores after it")
	}
	return nil
}

// tidyLink takes out of a link what only answers say, and checks the form of
// the rest, where path is what stands before its fields' names.
func tidyLink(m map[string]any, path string) error {
	for _, f := range answerOnly {
		delete(m, f)
	}
	if in, ok := m["inbound"].(map[string]any); ok {
		delete(in, "state")
		delete(in, "reason")
		delete(in, "since")
		if len(in) == 0 {
			delete(m, "inbound")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(linkFields, name) {
			return bad(fmt.Sprintf("%s.%.60s: a link has no such field%s", path, name, didYouMean(name, linkFields)))
		}
		if at := findNull(m[name], path+"."+name); at != "" {
			return bad(at + " is null: leave the field out to have none")
		}
	}
	for _, name := range []string{"server", "topics"} {
		if _, ok := m[name]; !ok {
			return invalid(validation{Reason: "required_field", Path: path + "." + name})
		}
	}
	return checkTopics(m["topics"], path)
}

// findNull returns the path of a null in v, "" if there is none.
func findNull(v any, path string) string {
	switch v := v.(type) {
	case nil:
		return path
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if at := findNull(v[name], fmt.Sprintf("%s.%.60s", path, name)); at != "" {
				return at
			}
		}
	case []any:
		for i := range v {
			if at := findNull(v[i], fmt.Sprintf("%s[%d]", path, i)); at != "" {
				return at
			}
		}
	}
	return ""
}

// checkTopics finds topics that others cover, with EMQX's words. What is no
// list of filters is left to the schema, which says more about it.
func checkTopics(v any, path string) error {
	list, ok := v.([]any)
	if !ok {
		return nil
	}
	filters := make([]topic.Filter, len(list))
	for i, t := range list {
		text, _ := t.(string)
		f, err := topic.Parse(text)
		if err != nil {
			return nil
		}
		filters[i] = f
	}
	_, redundant := topic.Reduce(filters)
	if len(redundant) == 0 {
		return nil
	}
	return invalid(validation{Value: list, Path: path + ".topics", Reason: struct {
		Topics []topic.Filter `json:"topics"`
		Reason string         `json:"reason"`
	}{redundant, "redundant_topics"}})
}

// keptSecret refuses the asterisks in the place of a password that nobody has
// given yet.
func keptSecret(m map[string]any, path string) error {
	for _, at := range [][]string{{"password"}, {"password_hash"}, {"ssl", "password"}, {"inbound", "password"}} {
		v := any(m)
		for _, key := range at {
			inner, _ := v.(map[string]any)
			v = inner[key]
		}
		if v == secret.Redacted {
			return bad(path + "." + strings.Join(at, ".") + " is " + secret.Redacted + ", which stands for one that is kept, and a new link has none: give it, or a reference such as file://secrets/name")
		}
	}
	return nil
}

// checkList checks each link of a list, and that no two have one name.
func checkList(list []any, known func(string) bool) ([]map[string]any, error) {
	links := make([]map[string]any, len(list))
	seen, twice := map[string]bool{}, []string{}
	for i, v := range list {
		path := fmt.Sprintf("root.%d", i+1) // EMQX counts from 1
		m, ok := v.(map[string]any)
		if !ok {
			return nil, bad(path + " must be a JSON object: one link")
		}
		if err := checkNamed(m, path, known); err != nil {
			return nil, err
		}
		name, _ := m["name"].(string)
		if seen[name] && !slices.Contains(twice, name) {
			twice = append(twice, name)
		}
		seen[name], links[i] = true, m
	}
	if len(twice) > 0 {
		return nil, invalid(validation{Path: "root", Reason: struct {
			Reason     string   `json:"reason"`
			Duplicates []string `json:"duplicates"`
		}{"duplicated_cluster_links", twice}})
	}
	return links, nil
}

// checkNamed checks a link with its name. A name that the source has already
// is let be, whoever put it there.
func checkNamed(m map[string]any, path string, known func(string) bool) error {
	if name, ok := m["name"].(string); !ok || !known(name) {
		if err := newName(m["name"]); err != nil {
			return err
		}
	}
	return tidyLink(m, path)
}
