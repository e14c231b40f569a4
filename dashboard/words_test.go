package dashboard

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	entry = regexp.MustCompile(`'([a-zA-Z0-9_.-]+)': '((?:[^'\\]|\\.)*)'`)
	named = regexp.MustCompile(`\{(\w+)\}`)

	// How the scripts ask for words: t('key'), t(x ? 'key' : 'key'),
	// t(`prefix.${…}`), tn('key', n).
	asked     = regexp.MustCompile(`\bt\('([^']+)'`)
	choice    = regexp.MustCompile("\\bt\\([^'`)]+\\? '([^']+)' : '([^']+)'")
	beginning = regexp.MustCompile("\\b(?:t|has)\\(`([a-zA-Z.]+\\.)\\$\\{")
	counted   = regexp.MustCompile(`\btn\('([^']+)'`)
)

func dictionary(t *testing.T, name string) map[string]string {
	t.Helper()
	words := map[string]string{}
	for _, m := range entry.FindAllStringSubmatch(sources(t)[name], -1) {
		if _, twice := words[m[1]]; twice {
			t.Errorf("%s has %s twice", name, m[1])
		}
		words[m[1]] = m[2]
	}
	if len(words) < 300 {
		t.Fatalf("%s has only %d words", name, len(words))
	}
	return words
}

// Both languages say the same things, about the same values.
func TestDictionariesHaveTheSameKeys(t *testing.T) {
	en, zh := dictionary(t, "en.js"), dictionary(t, "zh.js")
	for key, text := range en {
		other, ok := zh[key]
		if !ok {
			t.Errorf("zh.js lacks %s", key)
			continue
		}
		if got, want := values(other), values(text); !slices.Equal(got, want) {
			t.Errorf("%s is about %v in Chinese and %v in English", key, got, want)
		}
		if text == "" || other == "" {
			t.Errorf("%s is empty", key)
		}
	}
	for key := range zh {
		if _, ok := en[key]; !ok {
			t.Errorf("en.js lacks %s", key)
		}
	}
}

func values(text string) []string {
	set := map[string]bool{}
	for _, m := range named.FindAllStringSubmatch(text, -1) {
		set[m[1]] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// Each key that a script asks for exists, and each that exists is asked for.
func TestEveryKeyUsedExists(t *testing.T) {
	words := dictionary(t, "en.js")
	used := map[string]bool{}
	var prefixes []string
	need := func(file, key string) {
		if used[key] = true; words[key] == "" {
			t.Errorf("%s asks for %s, which no dictionary has", file, key)
		}
	}
	for file, text := range sources(t) {
		for _, m := range asked.FindAllStringSubmatch(text, -1) {
			need(file, m[1])
		}
		for _, m := range choice.FindAllStringSubmatch(text, -1) {
			need(file, m[1])
			need(file, m[2])
		}
		for _, m := range counted.FindAllStringSubmatch(text, -1) {
			need(file, m[1]+".one")
			need(file, m[1]+".many")
		}
		for _, m := range beginning.FindAllStringSubmatch(text, -1) {
			prefixes = append(prefixes, m[1])
		}
	}
	if len(used) < 200 || len(prefixes) < 10 {
		t.Fatalf("found only %d keys and %d beginnings in the scripts", len(used), len(prefixes))
	}
	for _, p := range prefixes {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(words)), func(key string) bool { return strings.HasPrefix(key, p) }) {
			t.Errorf("no key begins with %s", p)
		}
	}
	for key := range words {
		if !used[key] && !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) }) {
			t.Errorf("nothing asks for %s", key)
		}
	}
}

// Words that the API uses, and that people must not see as they are.
func TestWordsOfTheAPIAreKnown(t *testing.T) {
	words := dictionary(t, "zh.js")
	for prefix, list := range map[string]string{
		"severity.":  "error warning info",
		"result.":    "applied partly failed superseded pending",
		"op.":        "create update delete",
		"inbound.":   "online absent rejected no-credential expired",
		"probe.":     "dns tcp tls connack permission handshake",
		"condition.": "Ready Reconciling Stalled",
		"truth.":     "True False Unknown",
		"halfState.": "applied written unpushed",
		"target.":    "embedded emqx external",
		"reject.":    "unknown_cluster bad_remote_cluster_link_name cluster_link_disabled disabled",
		"role.":      "administrator viewer",
		"verify.":    "verify_peer verify_none",
		"field.":     "name server clientid username password topics ssl.enable pool_size retry_interval max_inflight",
	} {
		for word := range strings.FieldsSeq(list) {
			if words[prefix+word] == "" {
				t.Errorf("no words for %s", prefix+word)
			}
		}
	}
	for key, want := range map[string]string{
		"field.name": "集群名称", "field.server": "服务器地址", "field.clientid": "客户端 ID 前缀", "field.username": "用户名", "field.password": "密码", "field.topics": "主题",
		"field.ssl.enable": "启用 TLS", "advanced": "高级设置", "create": "创建", "settings": "设置", "delete": "删除", "enable": "启用", "nav.links": "集群连接",
	} {
		if words[key] != want {
			t.Errorf("%s is %q, EMQX says %q", key, words[key], want)
		}
	}
}
