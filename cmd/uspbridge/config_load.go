package main

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"gopkg.in/yaml.v3"
)

// envPrefix starts the names of all environment variables that are read.
const envPrefix = "USPBRIDGE"

// envNotKeys are variables of this prefix that are no keys: they are read by
// the commands that talk to a running bridge.
var envNotKeys = map[string]bool{envBridge: true, envConsole: true}

// configSource is where a configuration comes from. The stronger ones last:
// file, environment, flags.
type configSource struct {
	File    string         // "": none
	Content []byte         // of File
	Environ []string       // as os.Environ
	Flags   *pflag.FlagSet // with the flags of configFlags; may be nil
}

// problem is one thing wrong with a configuration: the key, where it was set,
// and what is wrong.
type problem struct {
	origin string // "bridge.yaml:7", "environment USPBRIDGE_X", "flag --x", "" for a default
	key    string
	text   string
	alone  bool // whatever the other keys say
}

func (p problem) String() string {
	var parts []string
	for _, s := range []string{p.origin, p.key, p.text} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ": ")
}

// configError is all that is wrong with a configuration, one line a problem.
type configError []problem

func (e configError) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return "configuration: " + strings.Join(lines, "\nconfiguration: ")
}

// configLoader reads one configuration. It remembers where each key was set, so
// that whatever is wrong with it can be told with its place.
type configLoader struct {
	file     string
	origins  map[string]string // key → where it was set
	problems []problem
	lost     map[string]bool // top-level sections with a section of unknown name in them
	unread   bool            // the file is no YAML
	unknown  []string        // variables of our prefix that are no keys
}

// loadConfig returns the defaults, overlaid by file, environment and flags, and
// checked. unknownEnv are environment variables of our prefix that are not keys:
// not an error, since container platforms set such names for services of ours.
func loadConfig(src configSource) (cfg *Config, unknownEnv []string, err error) {
	l := &configLoader{file: src.File, origins: map[string]string{}, lost: map[string]bool{}}
	v := viper.NewWithOptions(viper.WithLogger(discardLogger()))
	cfg = new(Config)
	*cfg = defaultConfig()
	fields := configFields(reflect.ValueOf(cfg).Elem(), "")
	for _, f := range fields {
		v.SetDefault(f.key, f.value.Interface())
	}
	if err := v.MergeConfigMap(l.readFile(src.Content)); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", src.File, err)
	}
	l.readEnviron(v, fields, src.Environ)
	if err := l.readFlags(v, fields, src.Flags); err != nil {
		return nil, nil, err
	}
	if l.unread {
		return nil, l.unknown, l.failure()
	}
	malformed := len(l.problems)
	if err := v.UnmarshalExact(cfg, viper.DecodeHook(mapstructure.TextUnmarshallerHookFunc())); err != nil {
		return nil, l.unknown, fmt.Errorf("configuration: %w", err)
	}
	cfg.USP.MTP.MQTT.on = l.present("usp.mtp.mqtt")
	cfg.USP.MTP.STOMP.on = l.present("usp.mtp.stomp")
	l.useBroker(&cfg.USP)
	l.check(cfg)
	l.withoutDoubt(malformed)
	if len(l.problems) > 0 {
		return nil, l.unknown, l.failure()
	}
	return cfg, l.unknown, nil
}

// failure returns the problems in the order of their lines.
func (l *configLoader) failure() error {
	line := func(p problem) int {
		n, err := strconv.Atoi(p.origin[strings.LastIndexByte(p.origin, ':')+1:])
		if err != nil {
			return 1 << 30 // environment and flags come after the file
		}
		return n
	}
	sort.SliceStable(l.problems, func(i, j int) bool { return line(l.problems[i]) < line(l.problems[j]) })
	return configError(l.problems)
}

// present reports whether a key or any below it was set.
func (l *configLoader) present(section string) bool {
	for key := range l.origins {
		if key == section || strings.HasPrefix(key, section+".") {
			return true
		}
	}
	return false
}

// wrong notes a problem with a key at the place where it was set. A key that
// was not set itself has the place of the section around it.
func (l *configLoader) wrong(key, format string, args ...any) {
	at := key
	for l.origins[at] == "" && strings.Contains(at, ".") {
		at = at[:strings.LastIndexByte(at, '.')]
	}
	l.problems = append(l.problems, problem{origin: l.origins[at], key: key, text: fmt.Sprintf(format, args...)})
}

// invalid is wrong for a value that is judged alone, whatever the other keys say.
func (l *configLoader) invalid(key, format string, args ...any) {
	l.wrong(key, format, args...)
	l.problems[len(l.problems)-1].alone = l.origins[key] != ""
}

// readFile checks the YAML text against the shape of Config and returns it as a map.
func (l *configLoader) readFile(content []byte) map[string]any {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(content))
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return l.noYAML(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return l.noYAML("more than one YAML document")
	}
	root := doc.Content[0]
	values := map[string]any{}
	if l.checkNode(root, reflect.TypeFor[Config](), "") && root.Kind == yaml.MappingNode {
		if err := root.Decode(&values); err != nil {
			return l.noYAML(strings.TrimPrefix(err.Error(), "yaml: "))
		}
	}
	return values
}

// noYAML notes that nothing of the file can be read.
func (l *configLoader) noYAML(why string) map[string]any {
	l.unread = true
	l.problems = append(l.problems, problem{origin: l.file, text: why})
	return nil
}

// checkNode checks a YAML node that is to become a value of type t and reports
// whether it can; what is malformed inside a section is taken out of it.
func (l *configLoader) checkNode(n *yaml.Node, t reflect.Type, key string) bool {
	before := len(l.problems)
	l.origins[key] = fmt.Sprintf("%s:%d", l.file, n.Line)
	null := n.Kind == yaml.ScalarNode && n.Tag == "!!null"
	switch {
	case n.Kind == yaml.AliasNode:
		l.wrong(key, "YAML aliases are not taken; write the value here")
	case isText(t):
		switch {
		case n.Kind != yaml.ScalarNode:
			l.wrong(key, "want one value, not a list or a section")
		case null:
			l.wrong(key, `has no value; write "" for an empty one or leave the key out`)
		default:
			if err := parseText(n.Value, t); err != nil {
				l.wrong(key, "%v", err)
			}
			n.Tag = "!!str" // as it is written: neither 1.0 nor 0123 is a number here
		}
	case null:
		// An empty section: its defaults.
	case t.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode:
		whole := true
		for i, item := range n.Content {
			whole = l.checkNode(item, t.Elem(), fmt.Sprintf("%s[%d]", key, i)) && whole
		}
		return whole
	case t.Kind() == reflect.Slice:
		l.wrong(key, "want a list: each item on a line of its own that starts with a dash")
	case n.Kind == yaml.MappingNode:
		l.checkSection(n, t, key)
		return true
	default:
		l.wrong(key, "want a section of keys, not a single value")
	}
	return len(l.problems) == before
}

func (l *configLoader) checkSection(n *yaml.Node, t reflect.Type, key string) {
	seen := map[string]int{}
	var good []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i].Value, n.Content[i+1]
		full := joinKey(key, name)
		l.origins[full] = fmt.Sprintf("%s:%d", l.file, n.Content[i].Line)
		field, names := sectionField(t, name)
		switch {
		case field == nil:
			l.wrong(full, "unknown key%s", meant(name, names))
			if value.Kind != yaml.ScalarNode {
				l.lose(full)
			}
		case seen[name] != 0:
			l.wrong(full, "is there twice; first in line %d", seen[name])
		case l.checkNode(value, field, full):
			good = append(good, n.Content[i], value)
		}
		seen[name] = n.Content[i].Line
		l.origins[full] = fmt.Sprintf("%s:%d", l.file, n.Content[i].Line)
	}
	n.Content = good
}

// meant says what an unknown key of a section may be meant for. A key with dots, as
// flags have them, is one of a section below.
func meant(name string, names []string) string {
	parts := strings.Split(name, ".")
	if len(parts) == 1 || !slices.Contains(names, parts[0]) {
		return suggestion(name, names)
	}
	return fmt.Sprintf("; in a file keys stand in their section: %s: …%s", strings.Join(parts, ": {"), strings.Repeat("}", len(parts)-1))
}

// sectionField returns the type of a section's key, nil if it has no such key,
// and all keys of the section.
func sectionField(t reflect.Type, name string) (field reflect.Type, names []string) {
	for i := range t.NumField() {
		tag := t.Field(i).Tag.Get("mapstructure")
		if tag == "" {
			continue
		}
		names = append(names, tag)
		if tag == name {
			field = t.Field(i).Type
		}
	}
	return field, names
}

// configField is a key that holds a single value.
type configField struct {
	key   string
	value reflect.Value
}

// configFields lists the keys with a single value; lists have none, since
// neither a variable nor a flag can say one.
func configFields(v reflect.Value, prefix string) []configField {
	var fields []configField
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag.Get("mapstructure")
		f := v.Field(i)
		switch {
		case tag == "" || f.Kind() == reflect.Slice:
		case isText(f.Type()):
			fields = append(fields, configField{joinKey(prefix, tag), f})
		default:
			fields = append(fields, configFields(f, joinKey(prefix, tag))...)
		}
	}
	return fields
}

func joinKey(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

// isText reports whether a value of type t is written as one text.
func isText(t reflect.Type) bool {
	return t.Kind() == reflect.String || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func parseText(text string, t reflect.Type) error {
	if u, ok := reflect.New(t).Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	return nil
}

// envName is the environment variable of a key.
func envName(key string) string {
	return envPrefix + "_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

func (l *configLoader) readEnviron(v *viper.Viper, fields []configField, environ []string) {
	byName := map[string]configField{}
	for _, f := range fields {
		byName[envName(f.key)] = f
	}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, envPrefix+"_") || envNotKeys[name] {
			continue
		}
		if f, ok := byName[name]; ok {
			l.override(v, f, "environment "+name, value)
		} else {
			l.unknown = append(l.unknown, name)
		}
	}
}

// configFlags adds a flag for every key that has a single value.
func configFlags(flags *pflag.FlagSet) error {
	cfg := defaultConfig()
	for _, f := range configFields(reflect.ValueOf(&cfg).Elem(), "") {
		flags.String(f.key, fmt.Sprint(f.value.Interface()), "configuration key "+f.key)
		if err := flags.MarkHidden(f.key); err != nil {
			return err
		}
	}
	return nil
}

func (l *configLoader) readFlags(v *viper.Viper, fields []configField, flags *pflag.FlagSet) error {
	if flags == nil {
		return nil
	}
	for _, f := range fields {
		if !flags.Changed(f.key) {
			continue
		}
		value, err := flags.GetString(f.key)
		if err != nil {
			return err
		}
		l.override(v, f, "flag --"+f.key, value)
	}
	return nil
}

// override sets a key to a text from outside the file.
func (l *configLoader) override(v *viper.Viper, f configField, origin, value string) {
	l.origins[f.key] = origin
	if err := parseText(value, f.value.Type()); err != nil {
		l.wrong(f.key, "%v", err)
		return
	}
	v.Set(f.key, value)
}

// readConfigFile reads the file that --config names.
func readConfigFile(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	b, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("configuration: %w; --config names one file that can be read", err)
	}
	if err != nil {
		return nil, fmt.Errorf("configuration: %w; create the file or start without --config to run on the defaults", err)
	}
	return b, nil
}
