module gallery {
    requires org.smpo;
}
