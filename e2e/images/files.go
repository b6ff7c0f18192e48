package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluicemesh/sluice/e2e/images/debian"
	"github.com/sluicemesh/sluice/e2e/images/envoy"
	"github.com/sluicemesh/sluice/e2e/images/rootfs"
)

// hostFiles is what Debian gave.
type hostFiles struct {
	debs  []string     // .deb files
	files debian.Files // what is in them; read when the first layer is built
}

const libDir = "usr/lib/x86_64-linux-gnu/"

// packages returns the .deb files, downloading them once.
func (b *builder) packages(ctx context.Context) (*hostFiles, error) {
	if b.host != nil {
		return b.host, nil
	}
	start := time.Now()
	debs, err := debian.Fetch(ctx, filepath.Join(b.Cache, "downloads"), debian.Set{
		Whole: []string{"busybox-static", "curl", "iptables"},
		Alone: []string{"ca-certificates"}, // its dependencies only assemble the bundle, which we do
	})
	if err != nil {
		return nil, err
	}
	if time.Since(start) > time.Second {
		b.say("%d Debian packages, %s", len(debs), took(start))
	}
	b.host = &hostFiles{debs: debs}
	return b.host, nil
}

// debianInputs names the packages with their versions: their file names have them.
func (b *builder) debianInputs(ctx context.Context) ([]string, error) {
	host, err := b.packages(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, deb := range host.debs {
		names = append(names, filepath.Base(deb))
	}
	return names, nil
}

func (b *builder) debianFiles(ctx context.Context) (debian.Files, error) {
	host, err := b.packages(ctx)
	if err != nil {
		return debian.Files{}, err
	}
	if host.files.Tree == nil {
		host.files, err = debian.Read(ctx, host.debs)
	}
	return host.files, err
}

// base is what every image has: the merged /usr, users, name service settings, the names of
// protocols, certificate authorities and the usual empty folders.
func (b *builder) base(ctx context.Context) (*rootfs.Tree, error) {
	src, err := b.debianFiles(ctx)
	if err != nil {
		return nil, err
	}
	t := rootfs.New()
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		t.AddDir("usr/"+dir, 0o755, 0)
		t.AddLink(dir, "usr/"+dir)
	}
	for _, dir := range []string{"dev", "etc", "proc", "root", "run", "sys", "usr/local/bin"} {
		t.AddDir(dir, 0o755, 0)
	}
	t.AddDir("tmp", 0o777|fs.ModeSticky, 0)
	t.AddDir("var/tmp", 0o777|fs.ModeSticky, 0)
	t.AddLink("var/run", "/run")
	t.AddFile("etc/passwd", 0o644, []byte(passwd))
	t.AddFile("etc/group", 0o644, []byte(group))
	t.AddFile("etc/nsswitch.conf", 0o644, []byte(nsswitch))
	bundle, err := certificates(src.Tree)
	if err != nil {
		return nil, err
	}
	t.AddFile("etc/ssl/certs/ca-certificates.crt", 0o644, bundle)
	return t, src.CopyTo(t, "etc/protocols", "etc/services", "usr/share/doc/ca-certificates/copyright")
}

const (
	passwd = "root:x:0:0:root:/root:/bin/sh\n" +
		"istio-proxy:x:1337:1337:proxy:/var/lib/istio:/usr/sbin/nologin\n" +
		"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n" +
		"nonroot:x:65532:65532:sample:/tmp:/bin/sh\n"
	group    = "root:x:0:\nistio-proxy:x:1337:\nnogroup:x:65534:\nnonroot:x:65532:\n"
	nsswitch = "passwd: files\ngroup: files\nhosts: files dns\nprotocols: files\nservices: files\n"
)

// certificates joins the authorities of the ca-certificates package, as its own
// update-ca-certificates does on an installed system.
func certificates(src *rootfs.Tree) ([]byte, error) {
	names, err := src.Glob("usr/share/ca-certificates/mozilla/*.crt")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errors.New("the package ca-certificates has no certificates")
	}
	var bundle bytes.Buffer
	for _, name := range names {
		data, err := src.ReadFile(name)
		if err != nil {
			return nil, err
		}
		bundle.Write(bytes.TrimSpace(data))
		bundle.WriteByte('\n')
	}
	return bundle.Bytes(), nil
}

// libc holds the C library: all that Envoy needs, and what name resolution needs.
func (b *builder) libc(ctx context.Context) (*rootfs.Tree, error) {
	src, err := b.debianFiles(ctx)
	if err != nil {
		return nil, err
	}
	t := rootfs.New()
	t.AddDir("usr/lib64", 0o755, 0)
	err = src.CopyTo(t,
		"lib64/ld-linux-x86-64.so.2", libDir+"libc.so.6", libDir+"libdl.so.2", libDir+"libm.so.6",
		libDir+"libnss_dns.so.2", libDir+"libnss_files.so.2",
		libDir+"libpthread.so.0", libDir+"libresolv.so.2", libDir+"librt.so.1",
	)
	if err != nil {
		return nil, err
	}
	return b.above(ctx, t, b.base)
}

// iptables holds both flavours of iptables with their extensions and libraries. Plain names
// are the nft flavour, as Debian's alternatives choose.
func (b *builder) iptables(ctx context.Context) (*rootfs.Tree, error) {
	src, err := b.debianFiles(ctx)
	if err != nil {
		return nil, err
	}
	roots, err := src.Tree.Glob(libDir + "xtables/*.so")
	if err != nil {
		return nil, err
	}
	t := rootfs.New()
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, verb := range []string{"", "-save", "-restore"} {
			for _, flavour := range []string{"-nft", "-legacy"} {
				roots = append(roots, "usr/sbin/"+family+flavour+verb)
			}
			t.AddLink("usr/sbin/"+family+verb, family+"-nft"+verb)
		}
	}
	if err := src.CopyTo(t, roots...); err != nil {
		return nil, err
	}
	return b.above(ctx, t, b.base, b.libc)
}

// envoy holds the proxy program. It needs nothing but the C library, which is checked here.
func (b *builder) envoy(ctx context.Context) (*rootfs.Tree, error) {
	start := time.Now()
	program, err := envoy.Fetch(ctx, filepath.Dir(b.Cache), func(line string) { b.say("%s", line) })
	if err != nil {
		return nil, err
	}
	if time.Since(start) > time.Second {
		b.say("Envoy %s from the Python registry, %s", envoy.Version, took(start))
	}
	t := rootfs.New()
	t.AddHostFile(binDir+"envoy", 0o755, program)
	whole, err := b.libc(ctx)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{"lib", "lib64"} {
		whole.AddLink(dir, "usr/"+dir)
	}
	whole.AddHostFile(binDir+"envoy", 0o755, program)
	if _, err := whole.Closure(binDir + "envoy"); err != nil {
		return nil, err
	}
	return t, nil
}

// curl holds curl and busybox with its applets: a client to type commands in.
func (b *builder) curl(ctx context.Context) (*rootfs.Tree, error) {
	src, err := b.debianFiles(ctx)
	if err != nil {
		return nil, err
	}
	t := rootfs.New()
	if err := src.CopyTo(t, "usr/bin/curl", "bin/busybox"); err != nil {
		return nil, err
	}
	for applet := range strings.FieldsSeq(applets) {
		t.AddLink("usr/bin/"+applet, "busybox")
	}
	return b.above(ctx, t, b.base, b.libc)
}

// applets are the commands of busybox that the sleep image offers.
const applets = `ash awk base64 basename cat chmod clear cmp cp cut date dd df diff dirname du
	echo env expr false find free getopt grep gunzip gzip head hexdump hostname httpd id ifconfig
	ip kill killall less ln ls md5sum mkdir mktemp more mv nc netstat nohup nslookup od ping ping6
	printenv printf ps pwd readlink realpath rm rmdir route sed seq sh sha256sum sleep sort stat
	strings stty sync tail tar tee telnet test time timeout top touch tr traceroute true tty uname
	uniq uptime vi watch wc wget which whoami xargs yes`

// above returns t without what the layers below hold.
func (b *builder) above(ctx context.Context, t *rootfs.Tree, below ...func(context.Context) (*rootfs.Tree, error)) (*rootfs.Tree, error) {
	for _, build := range below {
		base, err := build(ctx)
		if err != nil {
			return nil, fmt.Errorf("layer below: %w", err)
		}
		t.Subtract(base)
	}
	return t, nil
}
